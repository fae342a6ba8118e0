"""Made-up people to fill a stand-in with: plausible, harmless, and the same for the same seed."""

import random
from collections.abc import Iterator

from app.sandbox.shapes import Person

_FIRST = (
    "Ada", "Amara", "Anders", "Aisha", "Beatriz", "Bruno", "Carla", "Chen", "Daniel", "Diego", "Elena", "Emeka",
    "Farah", "Felix", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jonas", "Kaito", "Katya", "Lars", "Leila",
    "Liam", "Lucia", "Mara", "Mateo", "Mei", "Milan", "Nadia", "Nils", "Noor", "Olga", "Omar", "Paula", "Pedro",
    "Priya", "Rafael", "Rosa", "Samuel", "Sara", "Sofia", "Tariq", "Tomas", "Uma", "Vera", "Wanja", "Yara", "Yusuf",
    "Zofia",
)  # fmt: skip
_LAST = (
    "Abebe", "Adler", "Almeida", "Baker", "Bauer", "Berg", "Castro", "Chen", "Costa", "Dahl", "Diaz", "Dubois",
    "Eriksen", "Fischer", "Flores", "Fontaine", "Garcia", "Gruber", "Haddad", "Hansen", "Hoffman", "Ito", "Ivanova",
    "Jansen", "Kaur", "Keller", "Khan", "Kim", "Kowalski", "Larsen", "Lopez", "Martin", "Mbeki", "Meyer", "Moreau",
    "Nakamura", "Novak", "Okafor", "Olsen", "Patel", "Pereira", "Popov", "Quinn", "Rossi", "Sato", "Schmidt",
    "Silva", "Tanaka", "Torres", "Varga", "Weber", "Wolf", "Yilmaz", "Zhang",
)  # fmt: skip
_TRADES = (
    "Analytics", "Bakery", "Bicycles", "Books", "Cables", "Ceramics", "Cheese", "Coffee", "Cranes", "Farms",
    "Films", "Foods", "Freight", "Furniture", "Games", "Gardens", "Glass", "Instruments", "Labs", "Lighting",
    "Logistics", "Maps", "Mills", "Motors", "Optics", "Paper", "Pumps", "Robotics", "Sails", "Shoes", "Software",
    "Solar", "Steel", "Textiles", "Tools", "Toys", "Travel", "Watches", "Water", "Wines",
)  # fmt: skip
_PLACES = (
    "Alder", "Amber", "Birch", "Blue", "Cedar", "Copper", "Coral", "Delta", "Eastern", "Elm", "Falcon", "Granite",
    "Green", "Harbor", "Hazel", "Heron", "Iron", "Juniper", "Lake", "Linden", "Maple", "Meadow", "Northern", "Oak",
    "Pine", "Quartz", "Red", "River", "Rowan", "Silver", "Southern", "Spruce", "Stone", "Summit", "Sunny", "Valley",
    "Western", "Willow",
)  # fmt: skip
_TITLES = (
    "Account Manager", "Buyer", "Chief Executive", "Chief Financial Officer", "Consultant", "Data Analyst",
    "Designer", "Engineer", "Head of Marketing", "Head of Sales", "IT Manager", "Marketing Manager",
    "Operations Manager", "Product Manager", "Project Manager", "Sales Manager", "Vice President of Sales",
)  # fmt: skip
_DOMAINS = ("example.com", "example.org", "example.net")
_OPTED_OUT = 0.05


def people(count: int, seed: int = 0) -> Iterator[Person]:
    """`count` people, one after another; a longer list begins with the shorter one of the same seed."""
    # Not for secrets: the same people come again for the same seed.
    chance = random.Random(seed)  # noqa: S311
    for number in range(1, count + 1):
        first, last = chance.choice(_FIRST), chance.choice(_LAST)
        yield Person(
            first,
            last,
            f"{first}.{last}.{number}@{chance.choice(_DOMAINS)}".lower(),
            f"{chance.choice(_PLACES)} {chance.choice(_TRADES)}",
            chance.choice(_TITLES),
            f"+1 {chance.randrange(201, 990)} 555 01{chance.randrange(100):02}",
            chance.random() < _OPTED_OUT,
        )
