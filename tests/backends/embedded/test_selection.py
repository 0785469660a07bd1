"""Questions whose answer is a product: kinds, conditions, limits and superlatives."""

from pathlib import Path

import pytest

from caslie_tools.backends.embedded import EmbeddedPredictor, MiniLMEmbeddings
from caslie_tools.backends.embedded.questions.finder import ComparingFinder
from caslie_tools.store import CaptionStore
from tests.backends.embedded.asking import ask, product, said

SHOP = (
    product("oak", title="Oak side table", category="Furniture > Tables", price=120, width_cm=45, made_in="Poland"),
    product("pine", title="Pine coffee table", category="Furniture > Tables", price=80, width_cm=110, made_in="Latvia"),
    product("walnut", title="Walnut desk", category="Furniture > Desks", price=340, description="With two drawers."),
    product("cushion", title="Linen cushion", category="Textiles > Cushions", price=19, description="Organic linen."),
    product("lamp", title="Desk lamp Arc", category="Lighting > Lamps", price=45, power_w=7),
)  # fmt: skip


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Which table is the cheapest?", "Pine coffee table: 80."),
        ("What is the most expensive product?", "Walnut desk: 340."),
        ("Which is the widest table?", "Pine coffee table: 110 cm."),
        ("Welches Produkt ist am billigsten?", "Linen cushion: 19."),
        ("Quel est le produit le plus cher ?", "Walnut desk: 340."),
        ("¿Cuál es el producto más barato?", "Linen cushion: 19."),
        ("Vilken produkt är dyrast?", "Walnut desk: 340."),
        ("Which table is wider, the oak or the pine one?", "Pine coffee table: 110 cm."),
        ("Which product is the most powerful?", ""),  # only one product states its power
        ("Which sofa is the cheapest?", ""),
        ("Which tables cost between 70 and 130?", "Oak side table, Pine coffee table."),
        ("Do you have a table under 100 euros?", "Yes. Pine coffee table: 80."),
        ("Do you have desks under 300?", ""),
        ("Which product costs more than 200?", "Walnut desk: 340."),
        ("Which table is from Latvia?", "Pine coffee table: Latvia."),
        ("Which desk has drawers?", "Walnut desk: With two drawers."),
        ("Do you have a desk?", "Yes. Walnut desk."),
        ("Haben Sie einen Desk?", "Ja. Walnut desk."),
        ("Do you have coffee?", ""),  # a coffee table is no coffee
        ("Do you have organic cushions?", "Yes. Linen cushion: Organic linen."),
        ("Do you have vegan cushions?", ""),
        ("Do you sell chairs?", ""),
        ("Which lamp is dimmable?", ""),
        ("Which table is made of glass?", ""),
        ("How much is the table?", "Oak side table: 120. Pine coffee table: 80."),
    ],
)
async def test_only_products_that_fit_are_named(predictor: EmbeddedPredictor, question: str, expected: str) -> None:
    assert await said(predictor, question, *SHOP) == expected


async def test_the_deciding_facts_are_cited(predictor: EmbeddedPredictor) -> None:
    answer = await ask(predictor, "Which table is the cheapest?", *SHOP)

    assert ("pine", "price", "80") in [(item.product, item.field, item.quote) for item in answer.citations]


async def test_products_of_equal_value_are_all_named(predictor: EmbeddedPredictor) -> None:
    twins = [product(name, title=f"{name} tea", price=price) for name, price in (("Mint", 3), ("Lime", 3), ("Rose", 4))]

    assert await said(predictor, "Which tea is the cheapest?", *twins) == "Mint tea, Lime tea."


async def test_a_value_in_print_is_compared(predictor: EmbeddedPredictor) -> None:
    bags = [product(name, title=f"{name} backpack") for name in ("Fell", "Crag")]
    captions = {"Fell": 'It reads "30 L".', "Crag": 'It reads "45 L".'}

    assert await said(predictor, "Which backpack is the largest?", *bags, **captions) == 'Crag backpack: "45 L".'


@pytest.fixture
def shop(tmp_path: Path, embeddings: MiniLMEmbeddings) -> CaptionStore:
    store = CaptionStore.open(tmp_path / "store", embeddings)
    store.put_products([(item, []) for item in SHOP])
    return store


@pytest.mark.parametrize(
    ("question", "where", "ids"),
    [
        ("Which product is the cheapest?", None, ["cushion"]),
        ("Which product is the cheapest?", "price > 50", ["pine"]),
        ("Which table is the cheapest?", None, ["pine"]),
        ("Which products cost less than 100?", None, ["cushion", "lamp", "pine"]),
        ("Do you have a table from Poland?", None, ["oak"]),
        ("Do you have chairs?", None, []),
        ("How much is the walnut desk?", None, []),
        ("Which country is the table from?", None, []),
    ],
)
def test_the_catalogue_is_compared_through_the_store(
    shop: CaptionStore, question: str, where: str | None, ids: list[str]
) -> None:
    assert sorted(ComparingFinder(shop).find(question, where, 10)) == sorted(ids)
    assert len(ComparingFinder(shop).find(question, where, 1)) == min(len(ids), 1)
