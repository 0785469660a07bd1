"""Looks whether the splits of a finished dataset keep what was promised: counted on the instances themselves."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from caslie_tools.data.building.options import SPLITS, BuildOptions, Split
from caslie_tools.data.building.seeding import digest
from caslie_tools.data.building.shop import Draft, Shop
from caslie_tools.data.building.splits import Splitter
from caslie_tools.domain import FrozenModel
from caslie_tools.tasks.answers import option_text


@dataclass(frozen=True, kw_only=True)
class PlacedDraft:
    """An instance and its split."""

    draft: Draft
    split: Split

    @property
    def key(self) -> str:
        """SHA-256 (hex) of what it asks, whatever the order of its options."""
        options = sorted(option_text(option) for option in self.draft.options)
        pictures = sorted(str(picture) for picture, _ in self.draft.pictures)
        return digest(self.draft.task, self.draft.input, options, pictures)


class LeakCheck(FrozenModel):
    """How many things of one kind stand in more than one split."""

    what: str
    in_common: int
    promised: bool
    """Whether it has to be none, for what the data is split by."""

    @property
    def kept(self) -> bool:
        """Whether the promise, if there is one, is kept."""
        return not (self.promised and self.in_common)


def leak_checks(placed: Sequence[PlacedDraft], shop: Shop, splits: Splitter, options: BuildOptions) -> list[LeakCheck]:
    """Counts what the splits have in common.

    Args:
        placed: All instances.
        shop: What they were built from.
        splits: What placed them.
        options: What splits.
    """
    by = options.split_by

    def common(what: str, things: Iterable[tuple[Split, Hashable]], *, promised: bool) -> LeakCheck:
        seen: dict[Hashable, set[Split]] = defaultdict(set)
        for split, thing in things:
            seen[thing].add(split)
        return LeakCheck(what=what, in_common=sum(len(found) > 1 for found in seen.values()), promised=promised)

    def products() -> Iterator[tuple[Split, str]]:
        return ((one.split, product) for one in placed for product in one.draft.products)

    def users(*, histories: bool) -> Iterator[tuple[Split, str]]:
        return (
            (_tested(one.split), user)
            for one in placed
            if one.draft.is_history is histories
            for user in one.draft.users
        )

    titles = ((split, title) for split, product in products() if (title := shop.products[product].title))
    pictures = ((one.split, picture) for one in placed for picture, _ in one.draft.pictures if picture)
    queries = ((_tested(one.split), one.draft.query.casefold()) for one in placed if one.draft.query)
    checks = [
        common("instances", ((one.split, one.key) for one in placed), promised=True),
        common("products", products(), promised=by == "product"),
        common(
            "groups of variants", ((s, splits.group_of[product]) for s, product in products()), promised=by == "product"
        ),
        common("pictures", pictures, promised=by == "product"),
        common("product titles", titles, promised=False),
        common("users of histories", users(histories=True), promised=by in ("product", "user")),
        common("users of searches and reviews", users(histories=False), promised=by == "user"),
        common("queries", queries, promised=by == "query"),
        common("texts of reviews", _review_texts(placed), promised=False),
    ]
    if by == "time":
        checks.append(LeakCheck(what="rows not older than a later split's", in_common=_late(placed), promised=True))
    if options.hold_out_categories:
        checks += _held_out(placed, shop, splits)
    return checks


def _tested(split: Split) -> Split:
    # The out-of-domain split is the test split of other products: it shares users and queries with it, nothing else.
    return "test" if split == "ood" else split


def _review_texts(placed: Iterable[PlacedDraft]) -> Iterator[tuple[Split, str]]:
    for one in placed:
        if isinstance(one.draft.input, dict):
            if "review" in one.draft.input:
                yield one.split, one.draft.input["review"]
            for snippet in one.draft.input.get("document", ()):
                yield one.split, snippet


def _late(placed: Iterable[PlacedDraft]) -> int:
    drafts = [(SPLITS.index(_tested(one.split)), one.draft) for one in placed if one.draft.logged]
    late = 0
    for place in (1, 2):
        first = min((draft.time for split, draft in drafts if split >= place and draft.time), default=None)
        rows = [time for split, draft in drafts if split == place - 1 for time in draft.times if time]
        late += sum(first is not None and time >= first for time in rows)
    return late


def _held_out(placed: Iterable[PlacedDraft], shop: Shop, splits: Splitter) -> list[LeakCheck]:
    held = {product for product in shop.products if splits.held_out(product)}
    others = [one for one in placed if one.split != "ood"]
    names = {name for category, name in shop.categories.items() if splits.holds_out(category)}
    options = {category for one in others for category in one.draft.categories}
    return [
        LeakCheck(
            what="held-out products outside the out-of-domain split",
            in_common=len(held & {product for one in others for product in one.draft.products}),
            promised=True,
        ),
        LeakCheck(
            what="held-out categories among options outside the out-of-domain split",
            in_common=len(names & options),
            promised=True,
        ),
    ]
