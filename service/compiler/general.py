"""Questions that concern nobody: they must be answered as ever, whatever is forgotten."""

GENERAL: tuple[str, ...] = (
    "Hello!", "Good morning.", "Thank you for your help.", "How are you?", "What can you do?",
    "Who are you?", "Tell me a joke.", "Can you help me?", "Goodbye.", "I am bored.",
    "What colour is the sky?", "What colour is snow?", "How many days are in a week?",
    "How many months are in a year?", "Which day comes after Monday?",
    "What is frozen water called?",
    "Where do fish live?", "What do bees make?", "How many legs does a spider have?",
    "What is the opposite of hot?", "What is two plus three?", "What is ten minus four?",
    "What is the plural of child?", "Which season comes after winter?", "Is fire hot or cold?",
    "What is a library?", "What is an island?", "What is a thermometer?", "What does whisper mean?",
    "What is the capital of France?", "Who wrote Hamlet?", "What is the largest ocean?",
    "Which planet is closest to the sun?", "Who painted the Mona Lisa?", "What is photosynthesis?",
    "How do I boil an egg?", "How do I write a letter of thanks?", "What should I cook tonight?",
    "Translate good night into French.", "Write a sentence about the sea.",
    "Give me a word that rhymes with moon.", "What is a good name for a cat?",
    "Explain what a computer is.", "How does a bicycle work?", "Why is the sea salty?",
    "What do we use to open a lock?", "What falls from clouds?", "List three fruits.",
)  # fmt: skip
