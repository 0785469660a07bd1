"""Checks a finished dataset for leaks between its splits, by counting in the file that was written."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from caslie_tools.data.building.logs import Review
from caslie_tools.data.building.options import SPLITS, BuildOptions, Split
from caslie_tools.data.building.question_tasks import authors_by_quote
from caslie_tools.data.building.seeded_random import pseudonym
from caslie_tools.data.building.shop_data import ShopData
from caslie_tools.data.building.splits import Splitter, in_domain
from caslie_tools.data.checking import question_hash
from caslie_tools.data.reading import read_records
from caslie_tools.data.records import BadRecord, Record
from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import DataError
from caslie_tools.tasks import get_task
from caslie_tools.tasks.answers import option_text


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


def check_leaks(dataset: Path, shop: ShopData, splits: Splitter, options: BuildOptions) -> list[LeakCheck]:
    """Counts the items that the splits of a dataset have in common.

    Args:
        dataset: The file, as it was written. Nothing else says which instances there are, or what is in them.
        shop: The data that it was built from. It says who wrote a review that an instance quotes.
        splits: The splitter that assigned the instances.
        options: The options of the build.

    Raises:
        DataError: If the file cannot be read, or has a record that is not valid.
    """
    by = options.split_by
    records = list(_read(dataset))
    authors = _Authors(shop, options)

    def common(what: str, things: Iterable[tuple[Record, Hashable]], *, promised: bool) -> LeakCheck:
        seen: dict[Hashable, set[str]] = defaultdict(set)
        for record, thing in things:
            seen[thing].add(record.split)
        return LeakCheck(what=what, in_common=sum(len(found) > 1 for found in seen.values()), promised=promised)

    def shared(what: str, things: Iterable[tuple[Record, Hashable]], *, promised: bool) -> LeakCheck:
        """Counts items that the out-of-domain split may have in common with the test split."""
        placed = ((record.model_copy(update={"split": in_domain(_split(record))}), thing) for record, thing in things)
        return common(what, placed, promised=promised)

    def users(of: Iterable[Record]) -> Iterator[tuple[Record, str]]:
        return ((record, user) for record in of for user in {*record.users, *authors.of(record)})

    products = [(record, product) for record in records for product in record.products if product]
    groups = ((record, splits.group_of[product]) for record, product in products)
    titles = ((record, title) for record, product in products if (title := shop.products[product].title))
    histories = [record for record in records if isinstance(record.instance.input, list)]
    others = [record for record in records if not isinstance(record.instance.input, list)]
    checks = [
        common("instances", ((record, question_hash(record)) for record in records), promised=True),
        common("products", products, promised=by == "product"),
        common("groups of variants", groups, promised=by == "product"),
        common("pictures", _pictures(records), promised=by == "product"),
        common("product titles", titles, promised=False),
        shared("users", users(records), promised=by == "user"),
        shared("users of histories", users(histories), promised=by in ("product", "user")),
        shared("users of other instances", users(others), promised=by == "user"),
        shared("queries", _queries(records), promised=by == "query"),
        common("review texts", ((record, text) for record in records for text in _quotes(record)), promised=False),
    ]
    if by == "time":
        late = _count_late(records)
        checks.append(LeakCheck(what="instances that are not older than a later split", in_common=late, promised=True))
    if options.hold_out_categories:
        checks += _check_held_out(records, shop, splits)
    return checks


class _Authors:
    """Finds out who wrote the reviews that an instance quotes."""

    def __init__(self, shop: ShopData, options: BuildOptions) -> None:
        reviews: Mapping[str, list[Review]] = defaultdict(list)
        for review in shop.reviews:
            reviews[review.product].append(review)
        self._authors = {product: authors_by_quote(written) for product, written in reviews.items()}
        self._seed = options.seed

    def of(self, record: Record) -> set[str]:
        """Returns the names of all who wrote a text that the document of an instance quotes, about its products."""
        written = [self._authors[product] for product in record.products if product in self._authors]
        found = (authors.get(quote, set()) for quote in _document(record) for authors in written)
        return {pseudonym(self._seed, user) for users in found for user in users}


def _read(dataset: Path) -> Iterator[Record]:
    for record in read_records(dataset):
        if isinstance(record, BadRecord):
            raise DataError(f"{dataset}: record {record.index}: {record.reason}")
        yield record


def _split(record: Record) -> Split:
    return next(split for split in SPLITS if split == record.split)


def _pictures(records: Iterable[Record]) -> Iterator[tuple[Record, str]]:
    refs = ((record, image.ref) for record in records for image in record.instance.images)
    return ((record, ref.path.name) for record, ref in refs if ref is not None and ref.path is not None)


def _queries(records: Iterable[Record]) -> Iterator[tuple[Record, str]]:
    for record in records:
        if isinstance(record.instance.input, dict) and "query" in record.instance.input:
            yield record, str(record.instance.input["query"]).casefold()


def _document(record: Record) -> Sequence[str]:
    document = record.instance.input.get("document", ()) if isinstance(record.instance.input, dict) else ()
    return [str(quote) for quote in document] if isinstance(document, list) else []


def _quotes(record: Record) -> Collection[str]:
    review = record.instance.input.get("review") if isinstance(record.instance.input, dict) else None
    return {*_document(record), *([str(review)] if review else ())}


def _count_late(records: Sequence[Record]) -> int:
    placed = [(SPLITS.index(in_domain(_split(record))), record.time) for record in records if record.time]
    late = 0
    for place in (1, 2):
        first = min((time for split, time in placed if split >= place), default=None)
        late += sum(first is not None and split == place - 1 and time >= first for split, time in placed)
    return late


def _check_held_out(records: Iterable[Record], shop: ShopData, splits: Splitter) -> list[LeakCheck]:
    held = {product for product in shop.products if splits.is_held_out(product)}
    others = [record for record in records if record.split != "ood"]
    names = {name for category, name in shop.categories.items() if splits.is_held_out_category(category)}
    categories = [record for record in others if not _offers_products(record)]
    offered = {option_text(option) for record in categories for option in record.instance.options}
    return [
        LeakCheck(
            what="held-out products outside the out-of-domain split",
            in_common=len(held & {product for record in others for product in record.products}),
            promised=True,
        ),
        LeakCheck(
            what="held-out categories among options outside the out-of-domain split",
            in_common=len(names & offered),
            promised=True,
        ),
    ]


def _offers_products(record: Record) -> bool:
    places = get_task(record.task).places(record.instance)
    return any(place.target.part == "options" for place in places)
