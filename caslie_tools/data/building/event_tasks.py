"""What purchases and views support: product_relation_prediction and sequential_recommendation."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import combinations
from typing import TypeAlias

from caslie_tools.data.building.logs import Event
from caslie_tools.data.building.option_letters import LETTERS, drawn, lettered
from caslie_tools.data.building.options import BuildOptions, Split
from caslie_tools.data.building.seeding import draw, shuffled
from caslie_tools.data.building.shop import Draft, LeftOut, Shop, category_path
from caslie_tools.data.building.splits import Splitter

RELATION = "product_relation_prediction"
SEQUENCE = "sequential_recommendation"

_LARGEST_BASKET = 50
_LONGEST_HISTORY = 10

Pair: TypeAlias = tuple[str, str]


def product_relation_prediction(shop: Shop, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Asks how two products relate: bought together (A), viewed together (B) or similar (C).

    Together is in one basket, or, without baskets, by one user on one day (UTC); what was both is bought together.
    Similar are products of one category that were neither: for every split up to as many are drawn as the larger of the
    other two has. A pair's time is when it was together often enough.
    """
    bought, large = _together(shop.events, "purchase", options.support)
    viewed, too_large = _together(shop.events, "view", options.support)
    yield from [LeftOut(task=RELATION, reason=f"a basket of more than {_LARGEST_BASKET} products")] * (
        large + too_large
    )
    known = {pair: ("B", time) for pair, time in viewed.items()} | {pair: ("A", time) for pair, time in bought.items()}
    counts: dict[Split, Counter[str]] = defaultdict(Counter)
    for pair in sorted(known):
        label, time = known[pair]
        draft = _pair(shop, options, pair, label, time)
        yield draft
        if isinstance(draft, Draft) and isinstance(split := splits.place(draft), str):
            counts[split][label] += 1
    if counts:
        yield from _similar(shop, splits, options, known, counts)


def sequential_recommendation(shop: Shop, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Asks for a user's last purchase after the ones before it, among products the user never bought and no variants.

    A product counts when it is first bought; the ten before the last one are shown, those that may stand in the last
    one's split.
    """
    bought: dict[str, dict[str, datetime]] = defaultdict(dict)
    for event in shop.events:
        if event.event == "purchase":
            times = bought[event.user]
            times[event.product] = min(event.time, times.get(event.product, event.time))
    for user in sorted(bought):
        order = sorted(bought[user], key=lambda product: (bought[user][product], product))
        *before, target = order
        before = [item for item in before if splits.run_together(target, item) and shop.tells(item)]
        if not before or not shop.tells(target):
            yield LeftOut(task=SEQUENCE, reason="nothing bought before the last purchase can be shown with it")
            continue
        yield _history(shop, splits, options, user, before[-_LONGEST_HISTORY:], target, bought[user])


def _history(
    shop: Shop,
    splits: Splitter,
    options: BuildOptions,
    user: str,
    before: Sequence[str],
    target: str,
    bought: Mapping[str, datetime],
) -> Draft | LeftOut:
    chance = draw(options.seed, SEQUENCE, user, target)
    titles = {shop.products[target].title}

    def fits(other: str) -> bool:
        title = shop.products[other].title
        variant = splits.group_of[other] == splits.group_of[target]
        if other in bought or variant or not shop.tells(other) or (title and title in titles):
            return False
        titles.add(title)
        return True

    asked = [target, *drawn(chance, splits.peers(target), options.options - 1, fits)]
    if len(asked) == 1:
        return LeftOut(task=SEQUENCE, reason="there is no other product to choose from")
    chance.shuffle(asked)
    return Draft(
        task=SEQUENCE,
        input=[f"{_ordinal(number)}: {shop.products[item].title}" for number, item in enumerate(before, start=1)],
        options=lettered([shop.products[item].title for item in asked]),
        output=LETTERS[asked.index(target)],
        pictures=tuple(shop.shown_once(item, options, SEQUENCE, user) for item in (*before, *asked)),
        products=(*before, *asked),
        users=(user,),
        times=tuple(bought[item] for item in (*before, target)),
        is_history=True,
    )


def _together(events: Sequence[Event], kind: str, support: int) -> tuple[dict[Pair, datetime], int]:
    """Returns when each pair was together for the so-manieth time, and how many baskets were too large to count."""
    baskets: dict[tuple[str, str], dict[str, datetime]] = defaultdict(dict)
    for event in events:
        if event.event == kind:
            key = ("basket", event.basket) if event.basket else (event.user, event.time.date().isoformat())
            baskets[key][event.product] = max(event.time, baskets[key].get(event.product, event.time))
    times: dict[Pair, list[datetime]] = defaultdict(list)
    large = 0
    for basket in baskets.values():
        if len(basket) > _LARGEST_BASKET:
            large += 1
            continue
        for one, two in combinations(sorted(basket), 2):
            times[one, two].append(max(basket[one], basket[two]))
    return {pair: sorted(when)[support - 1] for pair, when in times.items() if len(when) >= support}, large


def _pair(
    shop: Shop, options: BuildOptions, pair: Pair, label: str, time: datetime | None, *, logged: bool = True
) -> Draft | LeftOut:
    if not all(shop.tells(product) for product in pair):
        return LeftOut(task=RELATION, reason="a product has neither a title nor a picture")
    one, two = shuffled(pair, options.seed, RELATION, pair)
    return Draft(
        task=RELATION,
        input={"product 1": shop.products[one].title, "product 2": shop.products[two].title},
        output=label,
        pictures=tuple(shop.shown_once(product, options, RELATION, pair) for product in (one, two)),
        products=(one, two),
        times=(time,),
        logged=logged,
    )


def _similar(
    shop: Shop,
    splits: Splitter,
    options: BuildOptions,
    known: Mapping[Pair, object],
    counts: Mapping[Split, Counter[str]],
) -> Iterator[Draft | LeftOut]:
    """Draws similar pairs, so many for each split."""
    by_category: dict[str, list[str]] = defaultdict(list)
    for name, one in shop.products.items():
        if one.category:
            by_category[category_path(one)].append(name)
    wanted = Counter({split: max(labels.values()) for split, labels in counts.items()})
    drawn_pairs: set[Pair] = set()
    for product in shuffled(sorted(shop.products), options.seed, RELATION, "similar"):
        others = by_category[category_path(shop.products[product])]
        chance = draw(options.seed, RELATION, "similar", product)
        for other in chance.sample(others, min(len(others), 4)):
            pair: Pair = (min(product, other), max(product, other))
            if product == other or pair in known or pair in drawn_pairs:
                continue
            draft = _pair(shop, options, pair, "C", None, logged=False)
            if isinstance(draft, LeftOut) or isinstance(split := splits.place(draft), LeftOut) or wanted[split] < 1:
                continue
            wanted[split] -= 1
            drawn_pairs.add(pair)
            yield draft


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
