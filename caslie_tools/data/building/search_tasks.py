"""What searches support: multiclass_product_classification and product_substitute_identification."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from caslie_tools.data.building.logs import Judgement, Search
from caslie_tools.data.building.option_letters import drawn
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.seeding import draw
from caslie_tools.data.building.shop import Draft, LeftOut, Shop, category_path
from caslie_tools.data.building.splits import Splitter

MULTICLASS = "multiclass_product_classification"
SUBSTITUTE = "product_substitute_identification"

_LETTER: Mapping[Judgement, str] = {"exact": "A", "substitute": "B", "complement": "C", "irrelevant": "D"}
"""The task's own options."""


@dataclass(frozen=True, kw_only=True)
class _Result:
    """All that a log says of one product under one query."""

    query: str
    product: str
    judgements: frozenset[Judgement]
    purchased: int
    users: tuple[str, ...]
    """Everybody who got it."""
    times: tuple[datetime | None, ...]
    """Of the rows that tell how it fits."""


def multiclass_product_classification(shop: Shop, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Asks how well a product fits a query, as it was judged.

    Where nobody judged, only a purchase tells enough: what was bought is an exact match. For each of these a product of
    another top category, which the log never names for that query, is drawn as irrelevant. Both are marked as weak. A
    mere click could mean any of the classes and gives nothing.
    """
    named: dict[str, set[str]] = defaultdict(set)
    for search in shop.searches:
        named[search.query.casefold()].add(search.product)
    for result in _results(shop.searches):
        if len(result.judgements) == 1:
            yield _fit(shop, options, result, next(iter(result.judgements)))
        elif result.judgements:
            yield LeftOut(task=MULTICLASS, reason="it is judged in several ways")
        elif not result.purchased:
            yield LeftOut(task=MULTICLASS, reason="it was clicked only, which tells no class")
        else:
            yield _fit(shop, options, result, "exact", weak=True)
            if (far := _irrelevant(shop, splits, options, result, named[result.query.casefold()])) is not None:
                yield _fit(shop, options, far, "irrelevant", weak=True)


def product_substitute_identification(shop: Shop, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Asks whether a product is a substitute for what was searched, as it was judged; an exact match is none."""
    for result in _results(shop.searches):
        if len(result.judgements) != 1:
            reason = "it is judged in several ways" if result.judgements else "nobody judged it"
            yield LeftOut(task=SUBSTITUTE, reason=reason)
            continue
        yield _draft(shop, options, SUBSTITUTE, result, "yes" if "substitute" in result.judgements else "no")


def _fit(
    shop: Shop, options: BuildOptions, result: _Result, judgement: Judgement, *, weak: bool = False
) -> Draft | LeftOut:
    return _draft(shop, options, MULTICLASS, result, _LETTER[judgement], weak=weak)


def _draft(
    shop: Shop, options: BuildOptions, task: str, result: _Result, output: str, *, weak: bool = False
) -> Draft | LeftOut:
    if not shop.tells(result.product):
        return LeftOut(task=task, reason="it has neither a title nor a picture")
    return Draft(
        task=task,
        input={"query": result.query, "product title": shop.products[result.product].title},
        output=output,
        # The same picture in both tasks: a caption is made for the query, and serves both.
        pictures=shop.shown(result.product, options, "search", result.query.casefold()),
        products=(result.product,),
        users=result.users,
        query=result.query,
        times=result.times,
        weak=weak,
    )


def _results(searches: Sequence[Search]) -> Iterator[_Result]:
    rows: dict[tuple[str, str], list[Search]] = defaultdict(list)
    for search in searches:
        rows[search.query.casefold(), search.product].append(search)
    for key in sorted(rows):
        judged = [row for row in rows[key] if row.judgement is not None]
        telling = judged or [row for row in rows[key] if row.purchased]
        yield _Result(
            query=min(row.query for row in rows[key]),
            product=key[1],
            judgements=frozenset(row.judgement for row in judged if row.judgement is not None),
            purchased=sum(row.purchased for row in rows[key]),
            users=tuple(sorted({row.user for row in rows[key] if row.user})),
            times=tuple(row.time for row in telling),
        )


def _irrelevant(
    shop: Shop, splits: Splitter, options: BuildOptions, result: _Result, named: set[str]
) -> _Result | None:
    own = _top(shop, result.product)
    if not own:
        return None
    chance = draw(options.seed, MULTICLASS, "irrelevant", result.query.casefold(), result.product)
    far = drawn(
        chance,
        splits.peers(result.product),
        1,
        lambda other: other not in named and shop.tells(other) and _top(shop, other) not in ("", own),
    )
    return (
        None
        if not far
        else _Result(
            query=result.query,
            product=far[0],
            judgements=frozenset(),
            purchased=0,
            users=result.users,
            times=result.times,
        )
    )


def _top(shop: Shop, product: str) -> str:
    return category_path(shop.products[product]).split(" > ", 1)[0]
