"""Titles of seven kinds for one product, as catalogues have them."""

import random
from collections.abc import Sequence
from typing import Final

KINDS: Final = ("none", "word", "article number", "advertising", "German", "short name", "long text")

ADVERTISING_CALIBRATION: Final = (
    "Special offer", "Bestseller", "Limited edition", "Free shipping", "Our favourite", "Weekend deal", "Save 20% now",
    "Hot item",
)  # fmt: skip
ADVERTISING_REPORT: Final = (
    "New arrival", "Best price today", "Customers love it", "While stocks last", "Top rated", "Sale", "Back in stock",
    "Gift idea",
)  # fmt: skip
"""Phrases that calibration does not see."""

_ARTICLE_NUMBERS: Final = ("SKU {}", "Item {}", "Art. {}", "{}", "REF-{}-B", "XK{}")

GERMAN: Final = {
    "Apple": "Apfel",
    "Avocado": "Avocado",
    "Banana": "Banane",
    "Kiwi": "Kiwi",
    "Lemon": "Zitrone",
    "Lime": "Limette",
    "Mango": "Mango",
    "Melon": "Melone",
    "Nectarine": "Nektarine",
    "Orange": "Orange",
    "Papaya": "Papaya",
    "Passion Fruit": "Passionsfrucht",
    "Peach": "Pfirsich",
    "Pear": "Birne",
    "Pineapple": "Ananas",
    "Plum": "Pflaume",
    "Pomegranate": "Granatapfel",
    "Red Grapefruit": "Rote Grapefruit",
    "Satsumas": "Satsumas",
    "Juice": "Saft",
    "Milk": "Milch",
    "Oatghurt": "Haferjoghurt",
    "Oat Milk": "Hafermilch",
    "Sour Cream": "Saure Sahne",
    "Sour Milk": "Sauermilch",
    "Soyghurt": "Sojajoghurt",
    "Soy Milk": "Sojamilch",
    "Yoghurt": "Joghurt",
    "Asparagus": "Spargel",
    "Aubergine": "Aubergine",
    "Cabbage": "Kohl",
    "Carrots": "Möhren",
    "Cucumber": "Gurke",
    "Garlic": "Knoblauch",
    "Ginger": "Ingwer",
    "Leek": "Lauch",
    "Mushroom": "Champignon",
    "Onion": "Zwiebel",
    "Pepper": "Paprika",
    "Potato": "Kartoffel",
    "Red Beet": "Rote Bete",
    "Tomato": "Tomate",
    "Zucchini": "Zucchini",
    "Blazer": "Sakko",
    "Blouse": "Bluse",
    "Body": "Strampler",
    "Dress": "Kleid",
    "Hat": "Mütze",
    "Hoodie": "Kapuzenpullover",
    "Longsleeve": "Langarmshirt",
    "Outwear": "Jacke",
    "Pants": "Hose",
    "Polo": "Poloshirt",
    "Shirt": "Hemd",
    "Shoes": "Schuhe",
    "Shorts": "Kurze Hose",
    "Skirt": "Rock",
    "T-Shirt": "T-Shirt",
    "Top": "Oberteil",
    "Undershirt": "Unterhemd",
}
"""The German name of each group of the two sources."""

CLOTHES: Final = {
    "Blazer": ("Slim fit suit jacket", "Tailored blazer Oslo"),
    "Blouse": ("Silk blouse Marie", "Flowing viscose blouse"),
    "Body": ("Baby bodysuit, organic", "Newborn romper"),
    "Dress": ("Summer dress Lola", "Evening dress"),
    "Hat": ("Wool beanie", "Baseball cap"),
    "Hoodie": ("Zip hoodie Bergen", "Hooded sweatshirt"),
    "Longsleeve": ("Long sleeve jersey top", "Longsleeve Basic"),
    "Outwear": ("Winter coat Nord", "Down jacket"),
    "Pants": ("Chino trousers", "Jeans straight leg"),
    "Polo": ("Polo shirt piqué", "Polo Classic"),
    "Shirt": ("Oxford button-down shirt", "Checked flannel shirt"),
    "Shoes": ("Running shoes Air", "Leather ankle boots"),
    "Shorts": ("Denim shorts", "Swim shorts"),
    "Skirt": ("Pleated midi skirt", "Denim skirt"),
    "T-Shirt": ("Crew neck tee", "Printed T-shirt"),
    "Top": ("Cropped tank top", "Sleeveless top"),
    "Undershirt": ("Ribbed undershirt", "Cotton vest, men"),
}
"""Titles for the photos of clothes, which have none."""


def make_title(
    kind: str, *, group: str, title: str, description: str, draw: random.Random, advertising: Sequence[str]
) -> str:
    """Returns a title of one kind for a product.

    Args:
        kind: One of :data:`KINDS`.
        group: The product's group, such as ``Apple``.
        title: The product's own title.
        description: The product's own description.
        draw: Source of random choices.
        advertising: Phrases to choose from.
    """
    match kind:
        case "none":
            return ""
        case "word":
            return "product"
        case "article number":
            return draw.choice(_ARTICLE_NUMBERS).format(draw.randint(1000, 99999))
        case "advertising":
            return draw.choice(advertising)
        case "German":
            return GERMAN[group]
        case "short name":
            return title
        case _:
            return f"{title}. {description}"[:300]
