"""What the catalogue alone supports: category_classification."""

from collections.abc import Iterator

from caslie_tools.data.building.option_letters import LETTERS, lettered
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.seeding import draw
from caslie_tools.data.building.shop import Draft, LeftOut, Shop, Shown, category_path
from caslie_tools.data.building.splits import Splitter

TASK = "category_classification"


def category_classification(shop: Shop, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Asks for every product's category, among others drawn from the catalogue's.

    A category above or below the right one is never among the others, nor, outside the out-of-domain split, a held-out
    one.
    """
    seen = sorted(
        {
            category_path(product)
            for product in shop.products.values()
            if product.category and not splits.held_out(product.id)
        }
    )
    every = sorted(shop.categories)
    for product in shop.products.values():
        category = category_path(product)
        if not category:
            yield LeftOut(task=TASK, reason="the product has no category")
            continue
        title = "" if options.withhold_title else product.title
        others = [
            other
            for other in (every if splits.held_out(product.id) else seen)
            if not f"{other} > ".startswith(f"{category} > ") and not f"{category} > ".startswith(f"{other} > ")
        ]
        if not others:
            yield LeftOut(task=TASK, reason="there is no other category")
            continue
        for pictures in _pictures(shop, product.id, options):
            if not title and not pictures:
                yield LeftOut(task=TASK, reason="it has neither a title nor a picture")
                continue
            chance = draw(options.seed, TASK, title, pictures, category)
            asked = [category, *chance.sample(others, min(options.options - 1, len(others)))]
            chance.shuffle(asked)
            yield Draft(
                task=TASK,
                input={"title": title},
                options=lettered([shop.categories[path] for path in asked]),
                output=LETTERS[asked.index(category)],
                pictures=pictures,
                products=(product.id,),
                categories=tuple(shop.categories[path] for path in asked),
                logged=False,
            )


def _pictures(shop: Shop, product: str, options: BuildOptions) -> Iterator[tuple[Shown, ...]]:
    if options.pictures == "any" and shop.pictures.get(product):
        yield from (((picture, product),) for picture in sorted(set(shop.pictures[product])))
    else:
        yield shop.shown(product, options)
