"""Assigns instances to train, validation, test and the out-of-domain test, without leaks between them.

The split of an item depends on a hash of the seed and the item's name. The order of the rows and products that are
added later do not change it. Products that share a picture or the attribute ``group`` are variants, and count as one
item. The way of splitting (``split_by``) decides what is guaranteed:

``product`` (the default)
    No product, group or picture appears in two splits, in any task. A pair of products from different splits yields no
    instance. A history belongs to the split of its last purchase. Its other products, and the options, are limited to
    that split, so a user's history is in one split only.
``user``
    No user appears in two splits. The users of an instance are those whose log rows it is built from: they searched,
    asked, bought, viewed, or wrote a review that it quotes. An instance that users of two splits share is left out, and
    a review is quoted only in the split of its author. Instances without a user are split by product.
``query``
    No search query appears in two splits. Instances without a query are split by product.
``time``
    Every row of train is older than every row of validation, and every row of validation is older than every row of
    test. The time of an instance is that of the latest row that determines its answer. Log rows without a time yield
    no instance. Instances built from the catalogue alone are split by product.

Products of held-out categories appear only in ``ood``, for every way of splitting. An instance in ``ood`` has only such
products. If the data is split by user, query or time, the instance must also belong to the test split by that. An
instance that mixes held-out and other products is left out.

A question that occurs in several splits is left out, for every way of splitting. The data card also counts what repeats
without a guarantee, such as products if the data is split by user.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property

from caslie_tools.data.building.drafts import Draft, LeftOut
from caslie_tools.data.building.options import SPLITS, BuildOptions, Split
from caslie_tools.data.building.seeded_random import hash_fraction
from caslie_tools.data.building.shop_data import ShopData, category_path

GROUP = "group"
"""The catalogue column with the group of variants that a product belongs to."""


class Splitter:
    """Assigns products and instances to splits.

    Args:
        shop: The catalogue, its pictures and logs.
        options: Seed, proportions and the way of splitting.
    """

    def __init__(self, shop: ShopData, options: BuildOptions) -> None:
        self._options = options
        self.group_of = group_products(shop)
        """Each product's group of variants, by product id. The name of a group is the id of its first product."""
        self._held_categories = tuple(_path_prefix(category) for category in options.hold_out_categories)
        self._held_groups = {
            self.group_of[product.id]
            for product in shop.products.values()
            if self.is_held_out_category(category_path(product))
        }
        self._cuts = _time_cuts(shop, options) if options.split_by == "time" else None

    def is_held_out_category(self, category: str) -> bool:
        """Whether a category, given by its path, is held out or is below a held-out category."""
        return f"{category} > ".startswith(self._held_categories)

    def is_held_out(self, product: str) -> bool:
        """Whether a product, or a variant of it, is in a held-out category."""
        return self.group_of[product] in self._held_groups

    def split_of_product(self, product: str) -> Split:
        """Returns a product's split."""
        return "ood" if self.is_held_out(product) else self._split_of("product", self.group_of[product])

    def can_quote(self, user: str, split: Split) -> bool:
        """Whether an instance of a split may quote what a user wrote. An empty user is unknown."""
        if self._options.split_by != "user" or not user:
            return True
        return self._split_of("user", user) == in_domain(split)

    def can_share_history(self, product: str, other: str) -> bool:
        """Whether two products may appear in one history."""
        if self._histories_by_product:
            return self.split_of_product(product) == self.split_of_product(other)
        return self.is_held_out(product) == self.is_held_out(other)

    def history_candidates(self, product: str) -> Sequence[str]:
        """Returns the ids of all products that may appear in one history with this product, itself included."""
        by_split = self._histories_by_product
        return self._history_candidates[self.split_of_product(product) if by_split else self.is_held_out(product)]

    @property
    def _histories_by_product(self) -> bool:
        return self._options.split_by in ("product", "query")

    @cached_property
    def _history_candidates(self) -> Mapping[Split | bool, Sequence[str]]:
        candidates: dict[Split | bool, list[str]] = {place: [] for place in (*SPLITS, True, False)}
        for product in sorted(self.group_of):
            candidates[self.split_of_product(product)].append(product)
            candidates[self.is_held_out(product)].append(product)
        return candidates

    def place(self, draft: Draft) -> Split | LeftOut:
        """Returns an instance's split, or the reason why it has no split."""
        held = {self.is_held_out(product) for product in draft.products}
        if len(held) > 1:
            return LeftOut(task=draft.task, reason="only some of its products are in a held-out category")
        split = self._place(draft)
        if held == {True} and not isinstance(split, LeftOut):
            if split in ("test", "ood"):
                return "ood"
            by = self._options.split_by
            return LeftOut(task=draft.task, reason=f"its category is held out, but by {by} it is not in the test split")
        return split

    def _place(self, draft: Draft) -> Split | LeftOut:
        by = self._options.split_by
        if by == "user" and draft.users:
            return _only_split(draft, "users", {self._split_of("user", user) for user in draft.users})
        if by == "query" and draft.query:
            return self._split_of("query", draft.query.casefold())
        if by == "time" and draft.logged:
            if draft.time is None or self._cuts is None:
                return LeftOut(task=draft.task, reason="its log rows have no time")
            first, second = self._cuts
            return "train" if draft.time < first else "validation" if draft.time < second else "test"
        return _only_split(draft, "products", {self.split_of_product(product) for product in draft.products})

    def _split_of(self, kind: str, name: str) -> Split:
        train, validation, _ = self._options.proportions
        number = hash_fraction(self._options.seed, "split", kind, name)
        return "train" if number < train else "validation" if number < train + validation else "test"


def in_domain(split: Split) -> Split:
    """Returns the split that a split shares users and queries with.

    The out-of-domain split is the test split of the held-out products. The two share nothing else.
    """
    return "test" if split == "ood" else split


def group_products(shop: ShopData) -> dict[str, str]:
    """Returns every product's group of variants, named after the first of its product ids.

    Products that share a picture or a group name, directly or through other products, are in one group.
    """
    leader = {product: product for product in shop.products}

    def lead(product: str) -> str:
        while leader[product] != product:
            leader[product] = product = leader[leader[product]]
        return product

    first_with: dict[tuple[str, str], str] = {}
    for product, shared in _shared_traits(shop):
        other = first_with.setdefault(shared, product)
        first, second = sorted((lead(product), lead(other)))
        leader[second] = first
    return {product: lead(product) for product in shop.products}


def _shared_traits(shop: ShopData) -> Iterator[tuple[str, tuple[str, str]]]:
    for product in shop.products.values():
        yield from ((product.id, ("picture", picture)) for picture in shop.pictures.get(product.id, ()))
        if GROUP in product.attributes:
            yield product.id, ("group", str(product.attributes[GROUP]))
    for review in shop.reviews:
        if review.image is not None and (picture := shop.review_pictures.get(review.image)):
            yield review.product, ("picture", picture)


def _only_split(draft: Draft, kind: str, splits: set[Split]) -> Split | LeftOut:
    if len(splits) > 1:
        return LeftOut(task=draft.task, reason=f"its {kind} are in different splits")
    return splits.pop()


def _path_prefix(category: str) -> str:
    return " > ".join(part.strip() for part in category.split(">")) + " > "


def _time_cuts(shop: ShopData, options: BuildOptions) -> tuple[datetime, datetime] | None:
    logs = (shop.searches, shop.reviews, shop.questions, shop.events)
    times = sorted(row.time for log in logs for row in log if row.time is not None)
    if not times:
        return None
    train, validation, _ = options.proportions
    first, second = (min(round(len(times) * part), len(times) - 1) for part in (train, train + validation))
    return times[first], times[second]
