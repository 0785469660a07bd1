"""Splits without leaks: what goes to train, validation, test and the out-of-domain test.

The split of a thing is a hash of the seed and the thing's name, so neither the order of rows nor products that come
later move it. Products that share a picture or the attribute ``group`` (variants of one another) are one thing. What is
promised depends on what splits:

``product`` (the default)
    No product, group or picture stands in two splits, in any task. Two related products that fall apart give no
    instance. A history falls to the split of its last purchase, and is cut, with the candidates, to the products of
    that split: so a shopper's history, too, is in one split only.
``user``
    No user stands in two splits: what users of two splits share gives no instance. What names no user is split by
    product.
``query``
    No search query stands in two splits. What is no search is split as by ``product``.
``time``
    Every row of train is older than every row of validation, and these than those of test, where the last of the rows
    that make an answer counts. Rows without a time give no instance; what only the catalogue tells is split by product.

Held-out categories stand in ``ood`` and nowhere else, whatever splits: an instance there has only held-out products
and, where user, query or time split, is one of the test split by these. An instance with products of both kinds is left
out. What recurs without a promise, such as products when users split, is counted in the data card.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property

from caslie_tools.data.building.options import SPLITS, BuildOptions, Split
from caslie_tools.data.building.seeding import share
from caslie_tools.data.building.shop import Draft, LeftOut, Shop, category_path

GROUP = "group"
"""The catalogue's column that names a product's group of variants."""


class Splitter:
    """Places products and instances in splits.

    Args:
        shop: The catalogue, its pictures and logs.
        options: Seed, proportions and what splits.
    """

    def __init__(self, shop: Shop, options: BuildOptions) -> None:
        self._options = options
        self.group_of = group_products(shop)
        """The group of a product, by its id; named after its first product."""
        self._held_categories = tuple(_under(category) for category in options.hold_out_categories)
        self._held = {
            self.group_of[product.id] for product in shop.products.values() if self.holds_out(category_path(product))
        }
        self._cuts = _time_cuts(shop, options) if options.split_by == "time" else None

    def holds_out(self, category: str) -> bool:
        """Whether a category, given by its path, is held out, or lies below one that is."""
        return f"{category} > ".startswith(self._held_categories)

    def held_out(self, product: str) -> bool:
        """Whether a product is of a held-out category, or a variant of one that is."""
        return self.group_of[product] in self._held

    def of_product(self, product: str) -> Split:
        """Returns a product's split."""
        return "ood" if self.held_out(product) else self._named("product", self.group_of[product])

    def run_together(self, product: str, other: str) -> bool:
        """Whether two products may stand in one history."""
        if self._histories_by_product:
            return self.of_product(product) == self.of_product(other)
        return self.held_out(product) == self.held_out(other)

    def peers(self, product: str) -> Sequence[str]:
        """Returns every product that may stand in one history with this one, itself included, by id."""
        return self._peers[self.of_product(product) if self._histories_by_product else self.held_out(product)]

    @property
    def _histories_by_product(self) -> bool:
        return self._options.split_by in ("product", "query")

    @cached_property
    def _peers(self) -> Mapping[Split | bool, Sequence[str]]:
        peers: dict[Split | bool, list[str]] = {place: [] for place in (*SPLITS, True, False)}
        for product in sorted(self.group_of):
            peers[self.of_product(product)].append(product)
            peers[self.held_out(product)].append(product)
        return peers

    def place(self, draft: Draft) -> Split | LeftOut:
        """Returns an instance's split, or why it has none."""
        held = {self.held_out(product) for product in draft.products}
        if len(held) > 1:
            return LeftOut(task=draft.task, reason="only some of its products are of a held-out category")
        split = self._place(draft)
        if held == {True} and not isinstance(split, LeftOut):
            if split in ("test", "ood"):
                return "ood"
            return LeftOut(task=draft.task, reason="its category is held out, but what splits is not in the test split")
        return split

    def _place(self, draft: Draft) -> Split | LeftOut:
        by = self._options.split_by
        if by == "user" and draft.users:
            return _only(draft, "users", {self._named("user", user) for user in draft.users})
        if by == "query" and draft.query:
            return self._named("query", draft.query.casefold())
        if by == "time" and draft.logged:
            if draft.time is None or self._cuts is None:
                return LeftOut(task=draft.task, reason="it has no time")
            first, second = self._cuts
            return "train" if draft.time < first else "validation" if draft.time < second else "test"
        return _only(draft, "products", {self.of_product(product) for product in draft.products})

    def _named(self, kind: str, name: str) -> Split:
        train, validation, _ = self._options.proportions
        number = share(self._options.seed, "split", kind, name)
        return "train" if number < train else "validation" if number < train + validation else "test"


def group_products(shop: Shop) -> dict[str, str]:
    """Returns every product's group: the first id of those that share, in a chain, a picture or a group's name."""
    leader = {product: product for product in shop.products}

    def lead(product: str) -> str:
        while leader[product] != product:
            leader[product] = product = leader[leader[product]]
        return product

    first_with: dict[tuple[str, str], str] = {}
    for product, shared in _shared(shop):
        other = first_with.setdefault(shared, product)
        one, two = sorted((lead(product), lead(other)))
        leader[two] = one
    return {product: lead(product) for product in shop.products}


def _shared(shop: Shop) -> Iterator[tuple[str, tuple[str, str]]]:
    for product in shop.products.values():
        yield from ((product.id, ("picture", picture)) for picture in shop.pictures.get(product.id, ()))
        if GROUP in product.attributes:
            yield product.id, ("group", str(product.attributes[GROUP]))
    for review in shop.reviews:
        if review.image is not None and (picture := shop.review_pictures.get(review.image)):
            yield review.product, ("picture", picture)


def _only(draft: Draft, whose: str, splits: set[Split]) -> Split | LeftOut:
    if len(splits) > 1:
        return LeftOut(task=draft.task, reason=f"its {whose} stand in two splits")
    return splits.pop()


def _under(category: str) -> str:
    return " > ".join(part.strip() for part in category.split(">")) + " > "


def _time_cuts(shop: Shop, options: BuildOptions) -> tuple[datetime, datetime] | None:
    logs = (shop.searches, shop.reviews, shop.questions, shop.events)
    times = sorted(row.time for log in logs for row in log if row.time is not None)
    if not times:
        return None
    train, validation, _ = options.proportions
    first, second = (min(round(len(times) * part), len(times) - 1) for part in (train, train + validation))
    return times[first], times[second]
