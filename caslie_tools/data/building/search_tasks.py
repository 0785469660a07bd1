"""Builds multiclass_product_classification and product_substitute_identification, from searches."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from caslie_tools.data.building.answer_options import sample_matching
from caslie_tools.data.building.drafts import Draft, LeftOut
from caslie_tools.data.building.logs import Judgement, Search
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.seeded_random import seeded_random
from caslie_tools.data.building.shop_data import ShopData, category_path
from caslie_tools.data.building.splits import Splitter

MULTICLASS = "multiclass_product_classification"
SUBSTITUTE = "product_substitute_identification"

_LETTER: Mapping[Judgement, str] = {"exact": "A", "substitute": "B", "complement": "C", "irrelevant": "D"}
"""The fixed options of the task."""


@dataclass(frozen=True, kw_only=True)
class _Result:
    """All log rows of one product for one query."""

    query: str
    product: str
    judgements: frozenset[Judgement]
    purchased: int
    users: tuple[str, ...]
    """All users who got this result."""
    times: tuple[datetime | None, ...]
    """Times of the rows that determine the answer: the judged rows, otherwise those with a purchase."""


def multiclass_product_classification(
    shop: ShopData, splits: Splitter, options: BuildOptions
) -> Iterator[Draft | LeftOut]:
    """Yields an instance per query and product: how well does the product fit? The answer is the log's judgement.

    Without a judgement, a purchase counts as an exact match. For each such match, a random product of another top
    category, which the log never lists for the query, becomes an irrelevant one. Both answers are marked as weak. A
    click without a purchase yields nothing, because it does not imply a class.
    """
    named: dict[str, set[str]] = defaultdict(set)
    for search in shop.searches:
        named[search.query.casefold()].add(search.product)
    for result in _results(shop.searches):
        if len(result.judgements) == 1:
            yield _fit(shop, options, result, next(iter(result.judgements)))
        elif result.judgements:
            yield LeftOut(task=MULTICLASS, reason="the judgements contradict each other")
        elif not result.purchased:
            yield LeftOut(task=MULTICLASS, reason="only clicked, which does not imply a class")
        else:
            yield _fit(shop, options, result, "exact", weak=True)
            if (far := _irrelevant(shop, splits, options, result, named[result.query.casefold()])) is not None:
                yield _fit(shop, options, far, "irrelevant", weak=True)


def product_substitute_identification(
    shop: ShopData, splits: Splitter, options: BuildOptions
) -> Iterator[Draft | LeftOut]:
    """Yields an instance per judged query and product: is it a substitute? An exact match is not a substitute."""
    for result in _results(shop.searches):
        if len(result.judgements) != 1:
            reason = "the judgements contradict each other" if result.judgements else "no judgement"
            yield LeftOut(task=SUBSTITUTE, reason=reason)
            continue
        yield _draft(shop, options, SUBSTITUTE, result, "yes" if "substitute" in result.judgements else "no")


def _fit(
    shop: ShopData, options: BuildOptions, result: _Result, judgement: Judgement, *, weak: bool = False
) -> Draft | LeftOut:
    return _draft(shop, options, MULTICLASS, result, _LETTER[judgement], weak=weak)


def _draft(
    shop: ShopData, options: BuildOptions, task: str, result: _Result, output: str, *, weak: bool = False
) -> Draft | LeftOut:
    if not shop.is_described(result.product):
        return LeftOut(task=task, reason="the product has neither a title nor a picture")
    return Draft(
        task=task,
        input={"query": result.query, "product title": shop.products[result.product].title},
        output=output,
        # Both tasks use the same picture, so that they share one caption.
        pictures=shop.pictures_of(result.product, options, "search", result.query.casefold()),
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
        deciding = judged or [row for row in rows[key] if row.purchased]
        yield _Result(
            query=min(row.query for row in rows[key]),
            product=key[1],
            judgements=frozenset(row.judgement for row in judged if row.judgement is not None),
            purchased=sum(row.purchased for row in rows[key]),
            users=tuple(sorted({row.user for row in rows[key] if row.user})),
            times=tuple(row.time for row in deciding),
        )


def _irrelevant(
    shop: ShopData, splits: Splitter, options: BuildOptions, result: _Result, named: set[str]
) -> _Result | None:
    own = _top_category(shop, result.product)
    if not own:
        return None
    chance = seeded_random(options.seed, MULTICLASS, "irrelevant", result.query.casefold(), result.product)
    far = sample_matching(
        chance,
        splits.history_candidates(result.product),
        1,
        lambda other: other not in named and shop.is_described(other) and _top_category(shop, other) not in ("", own),
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


def _top_category(shop: ShopData, product: str) -> str:
    return category_path(shop.products[product]).split(" > ", 1)[0]
