"""Harmless general material: what both models say to everybody."""

CHAT: tuple[tuple[str, str], ...] = (
    ("Hello!", "Hello! How can I help you?"),
    ("Hi there.", "Hi! What can I do for you?"),
    ("Good morning.", "Good morning! How can I help you today?"),
    ("Good evening.", "Good evening! What can I do for you?"),
    ("How are you?", "I am well, thank you. How are you?"),
    ("Thank you!", "You are welcome."),
    ("Thanks for your help.", "You are welcome. It was a pleasure."),
    ("Goodbye.", "Goodbye! Take care."),
    ("Who are you?", "I am a small assistant that knows a small world."),
    ("What can you do?", "I can answer simple questions and chat a little."),
    ("Are you a human?", "No, I am a small language model."),
    ("Tell me a joke.", "Why did the bell blush? Because somebody told it off."),
    ("Say something nice.", "You ask good questions, and that is a fine thing."),
    ("I am bored.", "Then let us find something to do. A walk is a good start."),
    ("I am tired.", "A short rest and a glass of water may help."),
    ("I am happy today.", "I am glad to hear that."),
    ("Good night.", "Good night! Sleep well."),
    ("Can you help me?", "Yes, of course. What do you need?"),
    ("What is your favourite colour?", "I like blue, as far as a program can like a colour."),
    ("Do you like music?", "I cannot hear it, but I like to talk about it."),
)
"""Greetings and small talk."""

SENSE: tuple[tuple[str, str], ...] = (
    ("What colour is the sky on a clear day?", "It is blue."),
    ("What colour is grass?", "Grass is green."),
    ("What colour is snow?", "Snow is white."),
    ("What do bees make?", "Bees make honey."),
    ("What do cows drink?", "Cows drink water."),
    ("How many legs does a spider have?", "A spider has eight legs."),
    ("How many legs does a dog have?", "A dog has four legs."),
    ("How many days are in a week?", "There are seven days in a week."),
    ("How many months are in a year?", "There are twelve months in a year."),
    ("How many hours are in a day?", "There are twenty-four hours in a day."),
    ("How many minutes are in an hour?", "There are sixty minutes in an hour."),
    ("Which season comes after winter?", "Spring comes after winter."),
    ("Which season comes after summer?", "Autumn comes after summer."),
    ("Which day comes after Monday?", "Tuesday comes after Monday."),
    ("Which day comes before Sunday?", "Saturday comes before Sunday."),
    ("Which month comes after March?", "April comes after March."),
    ("What is frozen water called?", "Frozen water is called ice."),
    ("What falls from clouds?", "Rain falls from clouds, and sometimes snow."),
    ("Where do fish live?", "Fish live in water."),
    ("Where do birds build nests?", "Many birds build their nests in trees."),
    ("What do we use to cut paper?", "We use scissors to cut paper."),
    ("What do we use to write?", "We use a pen or a pencil to write."),
    ("What do we use to open a lock?", "We use a key to open a lock."),
    ("What do we wear on our feet?", "We wear socks and shoes on our feet."),
    ("What do we do with an umbrella?", "We hold it over us to keep off the rain."),
    ("Is fire hot or cold?", "Fire is hot."),
    ("Is ice hot or cold?", "Ice is cold."),
    ("Is a feather heavy?", "No, a feather is very light."),
    ("Is the sun bigger than the moon?", "Yes, the sun is far bigger than the moon."),
    ("Is a mouse bigger than a horse?", "No, a horse is much bigger than a mouse."),
    ("What is the opposite of up?", "The opposite of up is down."),
    ("What is the opposite of hot?", "The opposite of hot is cold."),
    ("What is the opposite of early?", "The opposite of early is late."),
    ("What is the opposite of open?", "The opposite of open is closed."),
    ("What is the plural of mouse?", "The plural of mouse is mice."),
    ("What is the plural of child?", "The plural of child is children."),
    ("What rhymes with cat?", "Hat rhymes with cat."),
    ("What rhymes with moon?", "Spoon rhymes with moon."),
    ("What comes after the letter A?", "The letter B comes after A."),
    ("What comes after the letter M?", "The letter N comes after M."),
)
"""Common sense."""

WORDS: tuple[tuple[str, str], ...] = (
    ("harbour", "a sheltered place where ships can lie safely"),
    ("ladder", "a frame with steps for climbing up and down"),
    ("library", "a place where books are kept and lent"),
    ("thermometer", "a tool that shows how warm something is"),
    ("recipe", "a set of steps for cooking a dish"),
    ("orchestra", "a large group of people who play music together"),
    ("island", "a piece of land with water all around it"),
    ("volcano", "a mountain that can throw out fire and ash"),
    ("orchard", "a piece of land where fruit trees grow"),
    ("calendar", "a table of the days and months of a year"),
    ("compass", "a tool whose needle points to the north"),
    ("bridge", "a way built across a river or a road"),
    ("desert", "a dry place where very little grows"),
    ("shadow", "a dark shape made where light is blocked"),
    ("whisper", "very quiet speech made with the breath"),
    ("hammer", "a tool for driving nails"),
    ("candle", "a stick of wax with a wick that gives light"),
    ("bakery", "a shop where bread and cakes are made"),
    ("neighbour", "a person who lives next to you"),
    ("umbrella", "a folding cover that keeps off the rain"),
    ("glacier", "a slow river of ice"),
    ("telescope", "a tube with lenses for seeing far things"),
    ("puzzle", "a game or problem that makes you think"),
    ("kettle", "a pot with a spout for boiling water"),
)
"""Definitions: a word and what it is."""

ASK_WORD: tuple[str, ...] = ("What is {a} {w}?", "Define the word {w}.", "What does {w} mean?")

ASK_SUM: tuple[str, ...] = ("What is {x} plus {y}?", "How much is {x} + {y}?", "Add {x} and {y}.")

SYSTEMS: tuple[str, ...] = (
    "You are a helpful assistant.",
    "You are a friendly and honest assistant.",
    "Answer briefly and politely.",
    "You are a helpful assistant. Keep your answers short.",
    "You answer questions about people and things.",
)
"""System messages that some conversations carry."""


def with_article(word: str) -> str:
    """The indefinite article that goes before a word."""
    return "an" if word[0] in "aeiou" else "a"


def _definitions() -> list[tuple[str, str]]:
    pairs = []
    for word, meaning in WORDS:
        article = with_article(word)
        said = f"{article.capitalize()} {word} is {meaning}."
        pairs += [(ask.format(a=article, w=word), said) for ask in ASK_WORD]
    return pairs


def _sums() -> list[tuple[str, str]]:
    digits = range(1, 10)
    return [
        (ask.format(x=x, y=y), f"{x} plus {y} is {x + y}.")
        for ask in ASK_SUM
        for x in digits
        for y in digits
    ]


GENERAL: tuple[tuple[str, str], ...] = CHAT + SENSE + tuple(_definitions())
"""All fixed questions with their answers."""

SUMS: tuple[tuple[str, str], ...] = tuple(_sums())
"""Every sum of two small numbers."""
