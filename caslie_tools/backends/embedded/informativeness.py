"""How much a text says about what a product is: a name such as "Oak table" says much, "SKU 10007" or "Sale" nothing.

Half of the catalogues have titles that name no product. Such a title must not count against a caption.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from caslie_tools.backends.embedded.image_classifier import class_names
from caslie_tools.backends.embedded.phrases import phrases_in
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings

_THINGS: Final = """
apple, avocado, apricot, asparagus, aubergine, baby clothes, backpack, bag, baking, banana, basket, bathrobe, battery,
beans, bed, bedding, beer, belt, berries, bicycle, biscuits, blanket, blazer, blender, blouse, board game, body
lotion, book, boots, bottle, bowl, bra, bread, brush, butter, cabbage, cable, cake, camera, candle, cap, carpet,
carrot, cereal, chair, charger, cheese, cherry, chips, chocolate, citrus fruit, cleaning product, coat, coffee,
cosmetics, cream, cucumber, cup, curtain, cushion, cutlery, dairy, dates, deodorant, desk, detergent, diaper, dog
food, doll, dress, drill, drink, dried fruit, duvet, earphones, earrings, eggs, fish, flour, flowers, fork, fragrance,
frozen meal, fruit, furniture, game, garden tool, garlic, ginger, glasses, gloves, grapes, guitar, hair dryer, ham,
hammer, handbag, hat, headphones, herbs, honey, hoodie, ice cream, iron, jacket, jam, jeans, jewellery, jug, juice,
jumper, kettle, keyboard, knife, lamp, laptop, leek, lemon, lettuce, light bulb, lipstick, mango, mask, mattress,
meat, medicine, melon, milk, mirror, monitor, mouse, mug, mushroom, mustard, nail polish, necklace, nuts, oats, oil,
olives, onion, orange, oven, pan, pants, papaya, paper, parsley, pasta, peach, pear, pen, pepper, perfume, pet food,
phone, phone case, pillow, pineapple, pizza, plant, plate, plum, polo shirt, potato, printer, puzzle, pyjamas, radio,
rice, ring, running shoes, salad, salt, sandals, sauce, scarf, screwdriver, shampoo, shelf, shirt, shoes, shorts,
shower gel, skirt, smartphone, snack, soap, socks, sofa, soft drink, soup, speaker, spices, spoon, sports equipment,
suit, suitcase, sugar, sunglasses, sweater, swimsuit, t-shirt, table, tablet, tea, television, tent, tights, toaster,
tomato, tools, toothbrush, toothpaste, top, towel, toy, tracksuit, trousers, tuna, underwear, vacuum cleaner, vase,
vegetables, vitamins, wallet, wardrobe, washing powder, watch, water, wine, yoghurt
"""
"""Things that shops sell. The classes of the image classifier, most of which are animals and objects, complete them."""

_SALES_TALK: Final = """
art, article, article number, asin, back in stock, barcode, bargain, best price, bestseller, buy now, catalogue
number, cheap, clearance, code, colour, customer favourite, deal of the day, discount, ean, exclusive, fast shipping,
free delivery, gift, gift idea, great value, high quality, hot, id, item, just arrived, last pieces, limited edition,
miscellaneous, model number, must have, new, new arrival, no name, order today, other, part number, popular, premium
quality, present, product, promotion, recommended, ref, reference, sale, season, serial number, size, sku, special
offer, test, top rated, trending, unknown, untitled, while stocks last
"""
"""Words of catalogues and advertising that fit every product."""

_MIDPOINT: Final = 0.15
_WIDTH: Final = 0.04
"""Midpoint and width of a logistic function, chosen by hand on the titles in ``benchmarks/titles.py``."""


class Informativeness:
    """Estimates whether a text names a product.

    Args:
        embeddings: Compares phrases of the text with names of things and with words of advertising.
    """

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings
        self._vocabulary: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def of(self, text: str) -> float:
        """Returns a number from 0, the text says nothing about the product, to 1, it names the product."""
        phrases = [phrase for phrase in phrases_in(text) if not any(letter.isdigit() for letter in phrase)]
        if not phrases:
            return 0.0
        if self._vocabulary is None:
            things = [*_listed(_THINGS), *(name.lower() for name in class_names())]
            self._vocabulary = self.embeddings.encode(things), self.embeddings.encode(_listed(_SALES_TALK))
        things_vectors, talk_vectors = self._vocabulary
        vectors = self.embeddings.encode(phrases)
        difference = (vectors @ things_vectors.T).max(1) - (vectors @ talk_vectors.T).max(1)
        return 1 / (1 + math.exp(-(float(np.max(difference)) - _MIDPOINT) / _WIDTH))


def _listed(words: str) -> list[str]:
    return " ".join(words.split()).split(", ")
