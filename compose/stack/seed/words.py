"""The vocabulary of the made-up shop: its products and prices, and what customers write."""

from typing import NamedTuple


class Shelf(NamedTuple):
    """One category: its products, and the range of their prices, in whole units."""

    things: tuple[str, ...]
    cheapest: int
    dearest: int


SHELVES = {
    "books": Shelf(("Atlas", "Cookbook", "Novel", "Field Guide"), 6, 60),
    "music": Shelf(("Record", "Songbook", "Box Set", "Single"), 5, 90),
    "films": Shelf(("Trilogy", "Documentary", "Thriller", "Short Film"), 7, 70),
    "games": Shelf(("Board Game", "Puzzle", "Card Game", "Quiz"), 9, 110),
    "toys": Shelf(("Kite", "Train", "Marble Run", "Spinning Top"), 4, 80),
    "garden": Shelf(("Trowel", "Planter", "Hose", "Birdhouse"), 8, 220),
    "kitchen": Shelf(("Kettle", "Pan", "Knife", "Café Press"), 12, 260),
    "furniture": Shelf(("Chair", "Shelf", "Desk", "Bench"), 45, 1400),
    "lighting": Shelf(("Lamp", "Lantern", "Spotlight", "Night Light"), 11, 380),
    "tools": Shelf(("Drill", "Hammer", "Saw", "Spirit Level"), 9, 420),
    "cameras": Shelf(("Camera", "Lens", "Tripod", "Light Meter"), 60, 3200),
    "phones": Shelf(("Phone", "Handset", "Flip Phone", "Satellite Phone"), 90, 1500),
    "laptops": Shelf(("Laptop", "Netbook", "Workstation", "Convertible"), 280, 3900),
    "audio": Shelf(("Speaker", "Headphones", "Turntable", "Amplifier"), 25, 1900),
    "watches": Shelf(("Watch", "Pocket Watch", "Chronograph", "Diver"), 35, 2600),
    "shoes": Shelf(("Sneaker", "Boot", "Sandal", "Loafer"), 25, 320),
    "coats": Shelf(("Parka", "Raincoat", "Duffle Coat", "Windbreaker"), 50, 640),
    "bags": Shelf(("Backpack", "Tote", "Suitcase", "Satchel"), 18, 480),
    "sports": Shelf(("Racket", "Rowing Machine", "Climbing Rope", "Ball"), 10, 900),
    "outdoors": Shelf(("Tent", "Sleeping Bag", "Stove", "Hammock"), 15, 780),
}

STYLES = ("Nordic", "Copper", "Harbour", "Quiet", "Double", "Winter", "Pocket", "Amber", "Swift")
LINES = ("Classic", "No. 7", "Plus", "Édition", "Mk II", "Light", "Reserve", "Studio")

SHOPS = ("Fennel", "Larkspur", "Ångström", "Old Mill", "Blue Door", "Señal", "Tidewater", "Hazel")
TRADES = ("Supply", "& Daughters", "Works", "Goods", "Trading", "Workshop")
COUNTRIES = ("AT", "BE", "CZ", "DE", "DK", "ES", "FI", "FR", "IE", "IT", "NL", "PL", "PT", "SE")

# One sentence from each group makes a description of about 600 characters.
DESCRIPTIONS = (
    (
        "A {thing} for people who want one that works on the first day and on the thousandth, "
        "without a manual on the table and without a second thought.",
        "We asked forty customers what annoyed them about their last {thing}, wrote the answers "
        "on a wall, and took them off again one by one.",
        "This {thing} began as a repair: after mending the same three faults for years we built "
        "one that does not have them.",
    ),
    (
        "The frame is made from one piece, so nothing rattles, and every edge that your hand "
        "meets has been rounded and sanded twice.",
        "All parts that wear can be bought singly and changed at home with the small key that "
        "lies in the box, no glue and no tricks.",
        "It comes in a plain carton, already put together, with a cloth bag for the days on "
        "which you take it along.",
    ),
    (
        "It was tested in the rain, in a lorry, in a kitchen with two children, and through one "
        "very long winter by the coast, and it came back each time.",
        "We measure every hundredth one by hand and write the result on a card, which you will "
        "find under the lid with the name of the person who did it.",
        "The colour comes from plants and will fade a little in the sun, which most people "
        "come to like after the first summer.",
    ),
    (
        "Weight and size are on the label, to the gram and to the millimetre, since we are "
        "tired of guessing too; the small print is in normal print.",
        "You have sixty days to change your mind, and you can send it back in whatever box "
        "you happen to find, with or without the ribbon.",
        "Made in small runs: when a run is sold out, the next one follows in about six weeks, "
        "and the price stays the same until the year ends.",
    ),
    (
        "Clean it with water and a soft brush. Do not lend it to people who do not return books.",
        "Keep it dry, keep it out of the dishwasher, and it will keep going for a long time.",
        "Goes well with the rest of the series, and looks fine alone on an empty shelf.",
    ),
)

# Given names only, from many countries; no real persons.
# fmt: off
AUTHORS = (
    "Ada", "Amir", "Anouk", "Björn", "Chidi", "Dalia", "Émile", "Farid", "Greta", "Hana",
    "Ines", "Jamal", "Kaja", "Leif", "Łucja", "Mira", "Nadia", "Olek", "Priya", "Quentin",
    "Rosa", "Søren", "Tomás", "Uma", "Viktor", "Wanda", "Ximena", "Yusuf", "Zoë", "Zuzana",
)
# fmt: on

# What people write, by the number of stars they give.
OPINIONS = (
    (),
    (
        "Broke in the first week. The replacement did too.",
        "Not what the picture shows. It went straight back.",
    ),
    (
        "It does the job, but only just, and loudly.",
        "Nice idea, poor finish. I expected more at this price.",
    ),
    (
        "Fine. Neither a joy nor a problem.",
        "Good enough for the weekend, not for every day.",
    ),
    (
        "Very solid. One star off for the packaging.",
        "I like it more each month, and it was delivered early.",
    ),
    (
        "Exactly right. I bought a second one for my sister.",
        "Best thing in the house since the coffee grinder ☕",
        "Five years from now I will still be using it.",
    ),
)
REMARKS = (
    "Delivery took three days.",
    "The seller answered within the hour.",
    "Mine is the smaller one.",
    "It replaces one that I had for ten years.",
    "The colour is darker than on the screen.",
    "",
)
