"""Builds product_relation_prediction and sequential_recommendation, from purchases and views."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import TypeAlias

from caslie_tools.data.building.answer_options import LETTERS, label_options, sample_matching
from caslie_tools.data.building.drafts import Draft, LeftOut
from caslie_tools.data.building.logs import Event
from caslie_tools.data.building.options import BuildOptions, Split
from caslie_tools.data.building.seeded_random import seeded_random, seeded_shuffle
from caslie_tools.data.building.shop_data import ShopData, category_path
from caslie_tools.data.building.splits import Splitter

RELATION = "product_relation_prediction"
SEQUENCE = "sequential_recommendation"

_MAX_BASKET_PRODUCTS = 50
_MAX_HISTORY_PRODUCTS = 10

Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class _Relation:
    """How two products are related."""

    label: str
    time: datetime
    """When the pair reached the required support."""
    users: tuple[str, ...]
    """All users who had both products together."""


def product_relation_prediction(shop: ShopData, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Yields an instance per pair of products: were they bought together (A), viewed together (B), or similar (C)?

    Together means: in one basket or, without baskets, by one user on one day (UTC). A pair that was both bought and
    viewed together counts as bought together. Similar pairs are two products of one category that were neither. Each
    split gets at most as many similar pairs as it has pairs of the more frequent of the other two labels. The time of a
    pair is when it reached the required support.
    """
    bought, large_baskets = _pairs_together(shop.events, "purchase", "A", options.support)
    viewed, large_views = _pairs_together(shop.events, "view", "B", options.support)
    yield from [LeftOut(task=RELATION, reason=f"a basket of more than {_MAX_BASKET_PRODUCTS} products")] * (
        large_baskets + large_views
    )
    related = viewed | bought
    counts: dict[Split, Counter[str]] = defaultdict(Counter)
    for pair in sorted(related):
        draft = _pair_draft(shop, options, pair, related[pair])
        yield draft
        if isinstance(draft, Draft) and isinstance(split := splits.place(draft), str):
            counts[split][draft.output] += 1
    if counts:
        yield from _similar_pairs(shop, splits, options, related, counts)


def sequential_recommendation(shop: ShopData, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Yields an instance per user: given the user's earlier purchases, which product came last?

    Only the first purchase of a product counts. The history is the ten products before the last one. Products that may
    not appear in the split of the last one are left out of it. The wrong options are products that the user never
    bought, and no variants of the answer.
    """
    bought: dict[str, dict[str, datetime]] = defaultdict(dict)
    for event in shop.events:
        if event.event == "purchase":
            times = bought[event.user]
            times[event.product] = min(event.time, times.get(event.product, event.time))
    for user in sorted(bought):
        order = sorted(bought[user], key=lambda product: (bought[user][product], product))
        *before, target = order
        before = [item for item in before if splits.can_share_history(target, item) and shop.is_described(item)]
        if not before or not shop.is_described(target):
            yield LeftOut(task=SEQUENCE, reason="no earlier purchase can be in one history with the last one")
            continue
        yield _history_draft(shop, splits, options, user, before[-_MAX_HISTORY_PRODUCTS:], target, bought[user])


def _history_draft(
    shop: ShopData,
    splits: Splitter,
    options: BuildOptions,
    user: str,
    before: Sequence[str],
    target: str,
    bought: Mapping[str, datetime],
) -> Draft | LeftOut:
    chance = seeded_random(options.seed, SEQUENCE, user, target)
    titles = {shop.products[target].title}

    def fits(other: str) -> bool:
        title = shop.products[other].title
        variant = splits.group_of[other] == splits.group_of[target]
        if other in bought or variant or not shop.is_described(other) or (title and title in titles):
            return False
        titles.add(title)
        return True

    offered = [target, *sample_matching(chance, splits.history_candidates(target), options.options - 1, fits)]
    if len(offered) == 1:
        return LeftOut(task=SEQUENCE, reason="there is no other product to choose from")
    chance.shuffle(offered)
    return Draft(
        task=SEQUENCE,
        input=[f"{_ordinal(number)}: {shop.products[item].title}" for number, item in enumerate(before, start=1)],
        options=label_options([shop.products[item].title for item in offered]),
        output=LETTERS[offered.index(target)],
        pictures=tuple(shop.picture_of(item, options, SEQUENCE, user) for item in (*before, *offered)),
        products=(*before, *offered),
        users=(user,),
        times=tuple(bought[item] for item in (*before, target)),
    )


def _pairs_together(events: Sequence[Event], kind: str, label: str, support: int) -> tuple[dict[Pair, _Relation], int]:
    """Returns the pairs that have the support, and the number of baskets that were too large to count."""
    baskets: dict[tuple[str, str], dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        if event.event == kind:
            key = ("basket", event.basket) if event.basket else (event.user, event.time.date().isoformat())
            baskets[key][event.product].append(event)
    times: dict[Pair, list[datetime]] = defaultdict(list)
    users: dict[Pair, set[str]] = defaultdict(set)
    large = 0
    for basket in baskets.values():
        if len(basket) > _MAX_BASKET_PRODUCTS:
            large += 1
            continue
        for pair in combinations(sorted(basket), 2):
            together = [event for product in pair for event in basket[product]]
            times[pair].append(max(event.time for event in together))
            users[pair].update(event.user for event in together)
    related = {
        pair: _Relation(label=label, time=sorted(when)[support - 1], users=tuple(sorted(users[pair])))
        for pair, when in times.items()
        if len(when) >= support
    }
    return related, large


def _pair_draft(shop: ShopData, options: BuildOptions, pair: Pair, relation: _Relation | None) -> Draft | LeftOut:
    """Returns the instance of a pair. Without a relation in the log, the products are similar (C)."""
    if not all(shop.is_described(product) for product in pair):
        return LeftOut(task=RELATION, reason="a product has neither a title nor a picture")
    first, second = seeded_shuffle(pair, options.seed, RELATION, pair)
    return Draft(
        task=RELATION,
        input={"product 1": shop.products[first].title, "product 2": shop.products[second].title},
        output=relation.label if relation else "C",
        pictures=tuple(shop.picture_of(product, options, RELATION, pair) for product in (first, second)),
        products=(first, second),
        users=relation.users if relation else (),
        times=(relation.time,) if relation else (),
        logged=relation is not None,
    )


def _similar_pairs(
    shop: ShopData,
    splits: Splitter,
    options: BuildOptions,
    related: Mapping[Pair, object],
    counts: Mapping[Split, Counter[str]],
) -> Iterator[Draft]:
    """Draws similar pairs, for each split as many as the more frequent of its other labels."""
    by_category: dict[str, list[str]] = defaultdict(list)
    for name, item in shop.products.items():
        if item.category:
            by_category[category_path(item)].append(name)
    wanted = Counter({split: max(labels.values()) for split, labels in counts.items()})
    drawn_pairs: set[Pair] = set()
    for product in seeded_shuffle(sorted(shop.products), options.seed, RELATION, "similar"):
        others = by_category[category_path(shop.products[product])]
        chance = seeded_random(options.seed, RELATION, "similar", product)
        for other in chance.sample(others, min(len(others), 4)):
            pair: Pair = (min(product, other), max(product, other))
            if product == other or pair in related or pair in drawn_pairs:
                continue
            draft = _pair_draft(shop, options, pair, None)
            if isinstance(draft, LeftOut) or isinstance(split := splits.place(draft), LeftOut) or wanted[split] < 1:
                continue
            wanted[split] -= 1
            drawn_pairs.add(pair)
            yield draft


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
