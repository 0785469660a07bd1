"""Builds category_classification, which needs only the catalogue."""

from collections.abc import Iterator

from caslie_tools.data.building.answer_options import LETTERS, label_options
from caslie_tools.data.building.drafts import Draft, LeftOut, ProductPicture
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.seeded_random import seeded_random
from caslie_tools.data.building.shop_data import ShopData, category_path
from caslie_tools.data.building.splits import Splitter

TASK = "category_classification"


def category_classification(shop: ShopData, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Yields an instance per product: which category is it in?

    The wrong options are random categories of the catalogue. They are never a parent or a subcategory of the right
    category. Outside the out-of-domain split, they are never a held-out category.
    """
    in_domain = sorted(
        {
            category_path(product)
            for product in shop.products.values()
            if product.category and not splits.is_held_out(product.id)
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
            for other in (every if splits.is_held_out(product.id) else in_domain)
            if not f"{other} > ".startswith(f"{category} > ") and not f"{category} > ".startswith(f"{other} > ")
        ]
        if not others:
            yield LeftOut(task=TASK, reason="there is no other category")
            continue
        for pictures in _pictures(shop, product.id, options):
            if not title and not pictures:
                yield LeftOut(task=TASK, reason="the product has neither a title nor a picture")
                continue
            chance = seeded_random(options.seed, TASK, title, pictures, category)
            offered = [category, *chance.sample(others, min(options.options - 1, len(others)))]
            chance.shuffle(offered)
            yield Draft(
                task=TASK,
                input={"title": title},
                options=label_options([shop.categories[path] for path in offered]),
                output=LETTERS[offered.index(category)],
                pictures=pictures,
                products=(product.id,),
                logged=False,
            )


def _pictures(shop: ShopData, product: str, options: BuildOptions) -> Iterator[tuple[ProductPicture, ...]]:
    if options.pictures == "any" and shop.pictures.get(product):
        yield from (((picture, product),) for picture in sorted(set(shop.pictures[product])))
    else:
        yield shop.pictures_of(product, options)
