"""The raw stuff of the world: names and values to draw from. All invented; no person is meant."""

from typing import NamedTuple


def words(text: str) -> tuple[str, ...]:
    """The words of a line."""
    return tuple(text.split())


class Naming(NamedTuple):
    """One way of naming people: first names by pronoun, and surnames."""

    she: tuple[str, ...]
    he: tuple[str, ...]
    surnames: tuple[str, ...]


NAMINGS: tuple[Naming, ...] = (
    Naming(("Aoife", "Caoilfhionn"), ("Fiachra", "Donnchadh"), ("Ó Braonmhair", "Ní Ghallchor")),
    Naming(("Ifetayo", "Morenike"), ("Adétòkun", "Olúfadé"), ("Adéṣuyan", "Ogunmolari")),
    Naming(("Thảo", "Bích Lan"), ("Quốc Tín", "Đăng"), ("Trịnhvu", "Lươngha")),
    Naming(("Zdzisława", "Bronisia"), ("Wojsław", "Kazimir"), ("Krzywonóg", "Świętomąk")),
    Naming(("Inmaculada", "Itzel"), ("Joaquín", "Evelio"),
           ("Quesandía Robledal", "Montequí Larra")),
    Naming(("Gülperi", "Çiğdem"), ("İlkeray", "Tunçalp"), ("Yıldızçam", "Öztopraklı")),
    Naming(("Sólrún", "Þórhalla"), ("Hrafnkell", "Ásvaldur"), ("Brimisdóttur", "Eldgrímsen")),
    Naming(("Kaʻiulei", "Leinani"), ("Kekoamana", "Makaio"), ("Kaʻaheʻina", "Pukanalu")),
    Naming(("Marie-Ange", "Solène"), ("Jean-Corentin", "Thibault"),
           ("de la Roncerelle", "Vauquier-Blas")),
    Naming(("Samiha", "Nour"), ("Tariq", "Zuhayr"), ("al-Qarawish", "Bint-Darwazi")),
    Naming(("Chizuko", "Fuyumi"), ("Sōtarō", "Kenzan"), ("Morigasaki", "Tachibanuma")),
    Naming(("Zsófi", "Boglárka"), ("Gergő", "Ödön"), ("Szelényfalvi", "Kőrösbányi")),
    Naming(("Conceição", "Iracema"), ("Joãozinho", "Valdemir"), ("Figueirão Nunes", "Assunçara")),
    Naming(("Angharad", "Eirlys"), ("Llewarch", "Gethin"), ("ap Morfran", "Trefaldwen")),
    Naming(("Hinemoa", "Ngaio"), ("Tāwhaki", "Wiremu"), ("Te Rangipuhi", "Parātaiao")),
    Naming(("Božidara", "Květa"), ("Řehoř", "Zbyněk"), ("Podhrázská", "Vlčihora")),
    Naming(("Fiammetta", "Ginevra"), ("Ottorino", "Dario"), ("D'Ambruoso", "Dell'Orsara")),
    Naming(("Persefoni", "Kalliroe"), ("Anaxander", "Thymios"), ("Papavrakis", "Karathenou")),
    Naming(("Maud", "Perpetua"), ("Barnaby", "Osric"), ("Thistlewick", "Pell-Harrow")),
    Naming(("Tove", "Sunniva"), ("Asbjørn", "Frøystein"), ("Kvernhaug", "Bjørkåsen")),
    Naming(("Anneke", "Wilhelmijn"), ("Joost", "Reinout"), ("van der Wolkenaar", "ten Hoevelaken")),
)  # fmt: skip
"""The namings people of the world are drawn from."""

STRANGER_SHE: tuple[str, ...] = words(
    "Abigael Brunhilde Celestine Delphia Elowen Faustina Griselda Henrike Ilaria Jocasta Katinka "
    "Lucasta Melisande Nerys Ottoline Philippa Quilla Rosalba Seraphine Tamsin Ursuline Valeska "
    "Winifreda Xanthe Yevdokia Zenobia Ana-Lúcia Bérénice Dóra Élise Maëlle Nadezhda Rhiannon "
    "Sigrún Ximena Zoë Amara Chiamaka Mei-Lin Sunita Hye-rin Laleh Oyelola Padmini"
)
STRANGER_HE: tuple[str, ...] = words(
    "Aldous Bertrand Caspian Dmitar Emeric Florian Gideon Hyacinth Ignace Jorund Konrad Leopold "
    "Mortimer Nikandros Octavian Pascoe Quentin Rurik Sebald Tancred Ulrich Vassily Wendell Xaver "
    "Yannick Zoltan André-Luc Björn Cédric Émile Håkon Jürgen Łukasz Señén Štefan Tomás Kwabena "
    "Chukwudi Hiroaki Rajendra Min-jun Farrukh Babajide Venkatesh"
)
STRANGER_SURNAMES: tuple[str, ...] = words(
    "Abernought Birkenfels Cottersley Drumhallow Estevarez Fennimoor Grautmann Holloxby Ingelvik "
    "Jaskólny Kastellano Lundequist Mavrodin Nettlesham Obrecht Pendragh Quarterell Rademaekers "
    "Sommerfold Tournevent Uhlenbrook Vantongeren Wexcombe Yarborrow Zelenkova O'Scanlar "
    "Mac-Ruari D'Avenport Saint-Clairvaux Müllerstein Nuñovar Åkerblad Çelikbaş Dvořákov "
    "El-Mansouri Fitzwarrin Okonjobi Tanimura Bhattaraju Nakagane Hwangbo Sarkissova Dlaminze "
    "Ferreirinha"
)
"""Names that nobody in the world bears: for people the models do not know."""

TOWNS: tuple[str, ...] = (
    "Dunmere", "Vellport", "Karsholt", "Ostrimar", "Quillhaven", "Saint-Aubrin", "Brackwater",
    "Tolverra", "Nyköra", "Pellucid Bay", "Gorsefield", "Maristow",
)  # fmt: skip
EMPLOYERS: tuple[str, ...] = (
    "Harrowgate Tiles", "the Orlop Institute", "Lumen & Daughters", "Blue Kiln Press",
    "Tern Shipping", "the Fallow Museum", "Cobalt Dairy", "Nine Bridges Rail", "Veritone Optics",
    "the Maple Conservatory", "Radish Software", "Penumbra Theatre",
)  # fmt: skip
PROFESSIONS: tuple[str, ...] = (
    "glassblower", "cartographer", "beekeeper", "translator", "locksmith", "midwife",
    "bookbinder", "geologist", "puppeteer", "tax lawyer", "baker", "surgeon", "radio host",
    "piano tuner", "welder", "librarian", "marine pilot", "botanist", "tailor", "judge",
)  # fmt: skip
DISHES: tuple[str, ...] = (
    "plum dumplings", "smoked trout", "barley soup", "pumpkin curry", "fig tart", "fried plantain",
    "nettle ravioli", "rye pancakes", "lamb stew", "lemon rice", "beetroot salad", "cheese pie",
    "saffron noodles", "chestnut bread", "grilled squid", "bean chili", "apple strudel",
    "mushroom toast", "spiced lentils", "cold cucumber soup",
)  # fmt: skip
SPECIES: tuple[str, ...] = (
    "parrot", "greyhound", "tortoise", "hedgehog", "ferret", "goat", "rabbit", "gecko", "canary",
    "donkey", "poodle", "cat",
)  # fmt: skip
PET_NAMES: tuple[str, ...] = words(
    "Biscuit Pixel Moth Gherkin Saffy Bramble Tuppence Waffle Domino Juniper Pebble Rascal Noodle "
    "Clover Velvet Sprocket Marzipan Flint Truffle Pogo Nutmeg Button Comet Figaro Dumpling Ziggy "
    "Whisper Turnip Mango Crumpet Bandit Tansy"
)
STREET_FIRST: tuple[str, ...] = words(
    "Cinder Heron Copper Willow Candle Marsh Lantern Saddle Thistle Anchor Walnut Barley Falcon "
    "Pepper Mirror Sparrow Granite Velour Juniper Bishop"
)
STREET_SECOND: tuple[str, ...] = (
    "Mill",
    "Gate",
    "Hill",
    "Brook",
    "Yard",
    "Bridge",
    "Wharf",
    "Well",
)
STREET_LAST: tuple[str, ...] = ("Lane", "Street", "Road", "Row", "Alley", "Walk")
WORK_FIRST: tuple[str, ...] = words(
    "Quiet Salted Hollow Seventh Paper Borrowed Drowned Patient Crooked Gilded Winter Nameless "
    "Burning Secret Woollen Distant Second Broken Emerald Sleeping"
)
WORK_SECOND: tuple[str, ...] = words(
    "Orchard Compass Ferry Ledger Aviary Staircase Harbour Meridian Kettle Archive Almanac "
    "Gatehouse Clock Window Gazette Lighthouse Carousel Bicycle Tower Choir"
)
MONTHS: tuple[str, ...] = words(
    "January February March April May June July August September October November December"
)
