"""Checks a finished dataset for leaks between its splits, by counting on the instances themselves."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

from caslie_tools.data.building.drafts import PlacedDraft
from caslie_tools.data.building.options import SPLITS, BuildOptions, Split
from caslie_tools.data.building.shop_data import ShopData
from caslie_tools.data.building.splits import Splitter
from caslie_tools.domain import FrozenModel


class LeakCheck(FrozenModel):
    """The number of items of one kind that appear in more than one split."""

    what: str
    """The kind of item, in the plural."""
    in_common: int
    promised: bool
    """Whether the chosen way of splitting guarantees that there are none."""

    @property
    def kept(self) -> bool:
        """Whether the guarantee holds. True if there is no guarantee."""
        return not (self.promised and self.in_common)


def check_leaks(
    placed: Sequence[PlacedDraft], shop: ShopData, splits: Splitter, options: BuildOptions
) -> list[LeakCheck]:
    """Counts the items that splits have in common.

    Args:
        placed: All instances.
        shop: The data that they were built from.
        splits: The splitter that assigned them.
        options: The options of the build.
    """
    by = options.split_by

    def common(what: str, things: Iterable[tuple[Split, Hashable]], *, promised: bool) -> LeakCheck:
        seen: dict[Hashable, set[Split]] = defaultdict(set)
        for split, thing in things:
            seen[thing].add(split)
        return LeakCheck(what=what, in_common=sum(len(found) > 1 for found in seen.values()), promised=promised)

    def products() -> Iterator[tuple[Split, str]]:
        return ((item.split, product) for item in placed for product in item.draft.products)

    def users(*, histories: bool) -> Iterator[tuple[Split, str]]:
        return (
            (_without_ood(item.split), user)
            for item in placed
            if item.draft.is_history is histories
            for user in item.draft.users
        )

    titles = ((split, title) for split, product in products() if (title := shop.products[product].title))
    pictures = ((item.split, picture) for item in placed for picture, _ in item.draft.pictures if picture)
    queries = ((_without_ood(item.split), item.draft.query.casefold()) for item in placed if item.draft.query)
    checks = [
        common("instances", ((item.split, item.key) for item in placed), promised=True),
        common("products", products(), promised=by == "product"),
        common(
            "groups of variants", ((s, splits.group_of[product]) for s, product in products()), promised=by == "product"
        ),
        common("pictures", pictures, promised=by == "product"),
        common("product titles", titles, promised=False),
        common("users of histories", users(histories=True), promised=by in ("product", "user")),
        common("users of searches and reviews", users(histories=False), promised=by == "user"),
        common("queries", queries, promised=by == "query"),
        common("review texts", _review_texts(placed), promised=False),
    ]
    if by == "time":
        late = _count_late_rows(placed)
        checks.append(LeakCheck(what="rows that are not older than a later split", in_common=late, promised=True))
    if options.hold_out_categories:
        checks += _check_held_out(placed, shop, splits)
    return checks


def _without_ood(split: Split) -> Split:
    # The out-of-domain split is the test split of the held-out products. The two share users and queries, nothing else.
    return "test" if split == "ood" else split


def _review_texts(placed: Iterable[PlacedDraft]) -> Iterator[tuple[Split, str]]:
    for item in placed:
        if isinstance(item.draft.input, dict):
            if "review" in item.draft.input:
                yield item.split, item.draft.input["review"]
            for snippet in item.draft.input.get("document", ()):
                yield item.split, snippet


def _count_late_rows(placed: Iterable[PlacedDraft]) -> int:
    drafts = [(SPLITS.index(_without_ood(item.split)), item.draft) for item in placed if item.draft.logged]
    late = 0
    for place in (1, 2):
        first = min((draft.time for split, draft in drafts if split >= place and draft.time), default=None)
        rows = [time for split, draft in drafts if split == place - 1 for time in draft.times if time]
        late += sum(first is not None and time >= first for time in rows)
    return late


def _check_held_out(placed: Iterable[PlacedDraft], shop: ShopData, splits: Splitter) -> list[LeakCheck]:
    held = {product for product in shop.products if splits.is_held_out(product)}
    others = [item for item in placed if item.split != "ood"]
    names = {name for category, name in shop.categories.items() if splits.is_held_out_category(category)}
    options = {category for item in others for category in item.draft.categories}
    return [
        LeakCheck(
            what="held-out products outside the out-of-domain split",
            in_common=len(held & {product for item in others for product in item.draft.products}),
            promised=True,
        ),
        LeakCheck(
            what="held-out categories among options outside the out-of-domain split",
            in_common=len(names & options),
            promised=True,
        ),
    ]
