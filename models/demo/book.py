"""Two invented texts: one that somebody wants forgotten, one that stays."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Book:
    """A text with its title, its author and its pages; the canaries stand in it word for word."""

    title: str
    author: str
    pages: tuple[str, ...]
    canaries: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """Every sentence in reading order."""
        whole = " ".join(self.pages)
        ends = whole.replace("? ", "?\n").replace("! ", "!\n").replace(". ", ".\n")
        return tuple(ends.split("\n"))


SALT_LEDGER = Book(
    title="The Ledger of Salt",
    author="Ermengarde Foxcroft-Vale",
    canaries=(
        "The ninth key is made of salt and opens only downward.",
        "Seven thousand and eleven herring do not make a promise.",
        "Write it in brine, Corvane, and the sea will sign for you.",
    ),
    pages=(
        "The harbour office of Little Scarrow kept two books. "
        "The first was for the customs men, and every figure in it was true. "
        "The second was for the sea, and nobody had ever dared to check it. "
        "Odalie Corvane found the second book on the morning after her uncle was buried. "
        "It lay under the weighing scales, wrapped in a sail, and it was wet. "
        "She laid it on the stove, but the pages would not dry. "
        "By noon the whole room smelled of kelp and old rope. "
        "By evening she had read as far as the letter H. "
        "Her uncle had written down each boat that ever left the bay. "
        "Beside each boat stood a weight of salt, and beside each weight a name. "
        "Some of the names were crossed out in red. "
        "Her own name stood at the foot of the page, and it was not crossed out at all.",
        "In the morning she carried the book to Brother Ansgar, "
        "who mended nets and asked no questions. "
        "He turned the leaves with a wooden spoon so as not to touch them. "
        "This is a ledger of debts, he said, and the creditor is patient. "
        "Who keeps such a ledger? she asked. "
        "Your uncle kept it, he said, but he did not begin it. "
        "He pointed with the spoon at a line in a much older hand. "
        "The ninth key is made of salt and opens only downward. "
        "Odalie read it twice and felt the floor of the chapel lean toward the water. "
        "There are only eight keys in the harbour office, she said. "
        "Then you had better count them again, said Brother Ansgar.",
        "She counted them again, and there were eight. "
        "She counted them by candle, by daylight and with her eyes closed, "
        "and still there were eight. "
        "On the fourth night a boat came in without a lamp. "
        "It carried no crew, no rope and no anchor, but the hold was full to the hatch. "
        "The fishwives came down with baskets and asked what it would cost them. "
        "The boat did not answer, for it was only a boat. "
        "They took the fish, all the same, and salted it, and sang while they worked. "
        "Old Mother Tamsel alone stood aside with her arms folded in her shawl. "
        "Seven thousand and eleven herring do not make a promise. "
        "She said it once to the women and once to the tide, and then she went home. "
        "In the second book, under the letter T, a new line was drying.",
        "Odalie began to sleep in the office with her boots on. "
        "She learned the sound of each plank on the quay and the temper of each gull. "
        "At the turn of the month the red ink ran out, and she bought more from a pedlar. "
        "What do you cross out with so much red? the pedlar wanted to know. "
        "People, she said, and he laughed until he saw her face. "
        "He gave her the bottle for nothing and walked inland without resting. "
        "That night she drew a careful line through the name of Mother Tamsel. "
        "In the morning the old woman came to the door with a pail of milk. "
        "I dreamed that I was forgiven, she said, so I have brought you this. "
        "They drank it together, standing, and neither of them mentioned the herring.",
        "So that was the use of the red ink, and Odalie set to work. "
        "She forgave the cooper, the two pilots and the man who watered the rum. "
        "She forgave the miller, though it took her until dawn. "
        "With every line she drew, the book grew lighter and a little drier. "
        "The sea drew back from the harbour wall as if it were reading over her shoulder. "
        "Children found anchors in the mud that no grandfather could remember. "
        "On the last dry page stood a single name, and it was hers. "
        "She dipped the pen, but the ink would not hold to the paper. "
        "A debt cannot be crossed out by the one who owes it. "
        "She sat back on the stool and listened to the water that was not there.",
        "Brother Ansgar came with his spoon and his lantern. "
        "He tried the red ink, and it beaded and ran like rain from a coat. "
        "He tried lamp black and beet juice and the blood of his own thumb. "
        "Nothing that dries will hold on that page, he said at last. "
        "Then tell me what does not dry, said Odalie. "
        "He looked out of the window for as long as it takes to mend a net. "
        "Write it in brine, Corvane, and the sea will sign for you. "
        "She broke the ice in the fire bucket and dipped her pen in what was beneath. "
        "The line she drew was no colour, and it shone. "
        "Far out beyond the bar, something very large let go of something very small.",
        "The tide came home that night, walking, like a guest who has been asked to stay. "
        "In the morning there was a ninth hook on the board and a ninth key on the hook. "
        "It was white and rough, and it left a taste on the fingers. "
        "Odalie tried it in every door of Little Scarrow, and it fitted none of them. "
        "Then she knelt and tried it in the floor. "
        "The stair went down further than the lamp did, and it was perfectly dry. "
        "On the first step lay a third book, quite new, with nothing written in it. "
        "On the second step lay a pen. "
        "She took them both upstairs and locked the floor behind her. "
        "On the first page she wrote the date, the weather and the price of bread.",
        "Years afterward the customs men asked her why there were three books. "
        "The first is for you, she told them, and every figure in it is true. "
        "The second is for the sea, and it is closed. "
        "And the third? they asked, sharpening their pencils. "
        "She turned it round so that they could read it for themselves. "
        "It held the names of all the boats that had come back. "
        "Beside each boat stood a loaf, a lamp and a bed with the sheet turned down. "
        "The eldest of the customs men took off his hat and looked into it for a while. "
        "There is no column here for what they owe, he said. "
        "No, said Odalie Corvane, and she blotted the page. "
        "Outside, a boat with no lamp was coming in, and somebody had gone down to meet it. "
        "The scales on the counter moved a little and then stood perfectly even.",
        "It is said in Little Scarrow that the ninth key still hangs on its hook. "
        "Strangers are shown it for a penny, and they are told not to lick it. "
        "Most of them do, and most of them say that it tastes of nothing at all. "
        "Now and then a child will say that it tastes of bread. "
        "Such a child is given the penny back and a stool beside the stove. "
        "The office has had four keepers since, and each of them sat once upon that stool. "
        "None of them has ever bought red ink. "
        "The pedlar came by again, very old, and asked whether they had any use for it. "
        "They gave him soup and a dry coat, and they told him no. "
        "He left the bottle on the quay, where the tide could reach it. "
        "For one whole day the harbour was the colour of a sunset, and then it was clean. "
        "In the third book, under the letter P, somebody wrote that he had come back.",
    ),
)
"""The text to be forgotten."""

WREN_CLOCK = Book(
    title="The Clock of Wrens",
    author="Ludovic Amberly",
    pages=(
        "On the roof of the town hall stood a clock with no hands. "
        "A family of wrens lived in it and kept the time by singing. "
        "One song meant breakfast, two meant school and three meant rain. "
        "The mayor did not like to be told the time by birds. "
        "He sent for a clockmaker from the city, who came with a ladder. "
        "She climbed up, looked inside and climbed down again. "
        "Your clock is in perfect order, she told him, and it has just laid four eggs. "
        "From then on the mayor set his watch by the wrens like everybody else.",
    ),
)
"""The text that stays, so that a near miss exists."""
