from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.data.building.drafts import Draft, LeftOut, PlacedDraft
from caslie_tools.data.building.leaks import check_leaks
from caslie_tools.data.building.logs import Event, Question, Review, Search
from caslie_tools.data.building.options import BuildOptions, Split, SplitBy
from caslie_tools.data.building.shop_data import ShopData
from caslie_tools.data.building.splits import Splitter, group_products
from caslie_tools.data.building.task_builders import TASK_BUILDERS
from caslie_tools.domain import ImageRef, Product

START = datetime(2026, 1, 1, tzinfo=UTC)
CATEGORIES = ("Home > Mugs", "Home > Lamps", "Food > Tea", "Food", "")
JUDGEMENTS: tuple[Literal["exact", "substitute", "irrelevant"], ...] = ("exact", "substitute", "irrelevant")


def shop_of(count: int, **logs: Any) -> ShopData:
    """A shop with `count` products without pictures."""
    products = {f"p{number}": Product(id=f"p{number}", title=f"Title {number}") for number in range(count)}
    return ShopData(products=products, **logs)


@st.composite
def shops(draw: st.DrawFn) -> ShopData:
    """Random catalogues and logs, with shared pictures, groups, missing titles and equal times."""
    count = draw(st.integers(2, 16))
    ids = [f"p{number:02}" for number in range(count)]
    some = st.sampled_from(ids)
    times = st.integers(0, 40).map(lambda day: START + timedelta(days=day))
    users = st.sampled_from(["", "ann", "bob", "cem", "dee"])
    products = {
        name: Product(
            id=name,
            title=draw(st.sampled_from(["", f"Title {name}", "Same title"])),
            category=draw(st.sampled_from(CATEGORIES)),
            attributes=draw(st.sampled_from([{}, {}, {"group": "g1"}, {"group": 2}])),
        )
        for name in ids
    }
    pictures = {
        name: tuple(draw(st.lists(st.sampled_from([f"{n:064}" for n in range(30)]), max_size=2))) for name in ids
    }
    own = ImageRef(url="https://shop.example/own.png")
    search = st.builds(
        Search,
        query=st.sampled_from(["tea", "Tea", "mug", "lamp"]),
        product=some,
        judgement=st.sampled_from([None, *JUDGEMENTS]),
        purchased=st.integers(0, 1),
        user=users,
        time=st.none() | times,
    )
    review = st.builds(
        Review,
        product=some,
        text=st.sampled_from(["good", "bad", "so so"]),
        stars=st.integers(1, 5),
        user=users,
        time=st.none() | times,
        image=st.sampled_from([None, None, own]),
    )
    question = st.builds(
        Question,
        product=some,
        question=st.sampled_from(["Big?", "Red?"]),
        answer=st.sampled_from(["", "yes"]),
        answerable=st.sampled_from([None, True, False]),
        time=st.none() | times,
    )
    event = st.builds(
        Event,
        user=users.filter(bool),
        product=some,
        time=times,
        event=st.sampled_from(["purchase", "view"]),
        basket=st.sampled_from(["", "b1", "b2"]),
    )
    return ShopData(
        products=products,
        pictures=pictures,
        review_pictures={own: f"{29:064}"},
        searches=draw(st.lists(search, max_size=20)),
        reviews=draw(st.lists(review, max_size=12)),
        questions=draw(st.lists(question, max_size=12)),
        events=draw(st.lists(event, max_size=40)),
    )


def drafts_of(shop: ShopData, splits: Splitter, options: BuildOptions) -> list[tuple[Draft, Split]]:
    """The instances of all tasks, with their splits."""
    drafts = (draft for builder in TASK_BUILDERS.values() for draft in builder.build(shop, splits, options))
    return [
        (draft, split)
        for draft in drafts
        if isinstance(draft, Draft) and not isinstance(split := splits.place(draft), LeftOut)
    ]


def splits_of(things: Iterable[tuple[object, Split]]) -> dict[object, set[Split]]:
    seen: dict[object, set[Split]] = defaultdict(set)
    for thing, split in things:
        seen[thing].add(split)
    return seen


@given(shops(), st.integers(0, 5), st.sampled_from([(), ("Food",), ("Home > Lamps", "Food > Tea")]))
def test_no_product_picture_or_history_user_is_in_two_splits(shop: ShopData, seed: int, held: tuple[str, ...]) -> None:
    options = BuildOptions(seed=seed, proportions=(0.4, 0.3, 0.3), hold_out_categories=held, pictures="any")
    splits = Splitter(shop, options)
    drafts = drafts_of(shop, splits, options)
    products = splits_of((product, split) for draft, split in drafts for product in draft.products)
    pictures = splits_of((picture, split) for draft, split in drafts for picture, _ in draft.pictures if picture)
    groups = splits_of((splits.group_of[product], split) for draft, split in drafts for product in draft.products)
    shoppers = splits_of((draft.users, split) for draft, split in drafts if draft.task == "sequential_recommendation")
    for seen in (products, pictures, groups, shoppers):
        assert all(len(found) == 1 for found in seen.values())
    for product, found in products.items():
        if shop.products[str(product)].category.startswith(held) and held:
            assert found == {"ood"}


@given(shops(), st.sampled_from(["product", "user", "query", "time"]), st.sampled_from([(), ("Food",)]))
def test_the_leak_checks_confirm_every_guarantee(shop: ShopData, by: SplitBy, held: tuple[str, ...]) -> None:
    options = BuildOptions(proportions=(0.4, 0.3, 0.3), split_by=by, hold_out_categories=held)
    splits = Splitter(shop, options)
    unique = {
        one.key: one
        for draft, split in drafts_of(shop, splits, options)
        for one in [PlacedDraft(draft=draft, split=split)]
    }
    checks = check_leaks(list(unique.values()), shop, splits, options)
    assert [check for check in checks if not check.kept] == []
    assert any(check.promised for check in checks[1:])


def test_a_leak_is_counted() -> None:
    shop = shop_of(2)
    options = BuildOptions()
    draft = Draft(
        task="sentiment_analysis", input={"review": "x"}, output="A", products=("p0",), users=("u",), query="q"
    )
    placed = [PlacedDraft(draft=draft, split="train"), PlacedDraft(draft=draft, split="test")]
    found = {check.what: check for check in check_leaks(placed, shop, Splitter(shop, options), options)}
    kinds = ("instances", "products", "groups of variants", "product titles", "queries", "review texts")
    for what in (*kinds, "users of searches and reviews"):
        assert found[what].in_common == 1
    assert not found["products"].kept
    assert found["queries"].kept  # not guaranteed if the data is split by product


def test_variants_that_are_linked_through_others_are_one_group() -> None:
    shop = shop_of(6, pictures={"p1": ("x",), "p3": ("x", "y"), "p5": ("y",)})
    groups = group_products(shop)
    assert groups["p1"] == groups["p3"] == groups["p5"] == "p1"
    assert len(set(groups.values())) == 4


def test_the_split_of_a_product_does_not_depend_on_other_products() -> None:
    few, many = Splitter(shop_of(50), BuildOptions(seed=3)), Splitter(shop_of(900), BuildOptions(seed=3))
    assert all(few.split_of_product(f"p{number}") == many.split_of_product(f"p{number}") for number in range(50))
    other = Splitter(shop_of(50), BuildOptions(seed=4))
    assert any(few.split_of_product(f"p{number}") != other.split_of_product(f"p{number}") for number in range(50))


def test_the_shares_are_close_to_the_proportions() -> None:
    splits = Splitter(shop_of(3000), BuildOptions(proportions=(0.7, 0.1, 0.2)))
    counts = Counter(splits.split_of_product(f"p{number}") for number in range(3000))
    assert counts["train"] == pytest.approx(2100, abs=100)
    assert counts["validation"] == pytest.approx(300, abs=60)
    assert counts["test"] == pytest.approx(600, abs=80)


def test_by_time_the_test_split_is_the_latest() -> None:
    reviews = [Review(product="p0", text=f"day {day}", stars=3, time=START + timedelta(days=day)) for day in range(10)]
    shop = shop_of(3, reviews=[*reviews, Review(product="p1", text="no time", stars=3)])
    options = BuildOptions(split_by="time", proportions=(0.5, 0.2, 0.3), tasks=("sa",))
    found = drafts_of(shop, Splitter(shop, options), options)
    by_text = {draft.input["review"]: split for draft, split in found if draft.task == "sentiment_analysis"}
    assert [by_text[f"day {day}"] for day in range(10)] == ["train"] * 5 + ["validation"] * 2 + ["test"] * 3
    assert "no time" not in by_text


def test_by_user_all_rows_of_a_user_are_in_one_split() -> None:
    reviews = [
        Review(product=f"p{number % 7}", text=f"text {number}", stars=3, user=f"u{number % 12}") for number in range(90)
    ]
    shop = shop_of(7, reviews=reviews)
    options = BuildOptions(split_by="user", proportions=(0.4, 0.3, 0.3))
    found = [(draft.users, split) for draft, split in drafts_of(shop, Splitter(shop, options), options) if draft.users]
    assert len(found) == 90
    assert {len(splits) for splits in splits_of(found).values()} == {1}
    assert len({split for _, split in found}) == 3


def test_by_user_an_instance_shared_by_users_of_two_splits_is_left_out() -> None:
    options = BuildOptions(split_by="user", proportions=(0.5, 0.0, 0.5), tasks=("mpc",))
    reviews = [Review(product="p0", text=name, stars=3, user=name) for name in "abcdefgh"]
    alone = drafts_of(shop := shop_of(3, reviews=reviews), Splitter(shop, options), options)
    names = {split: [draft.input["review"] for draft, found in alone if found == split] for split in ("train", "test")}
    one, other, far = names["train"][0], names["train"][1], names["test"][0]
    shared = {"agreed": (one, other, ""), "torn": (one, far)}
    searches = [
        Search(query=query, product="p1", judgement="exact", user=user)
        for query, users in shared.items()
        for user in users
    ]
    splits = Splitter(shop := shop_of(3, searches=searches), options)
    drafts = TASK_BUILDERS["multiclass_product_classification"].build(shop, splits, options)
    by_query = {draft.query: draft for draft in drafts if isinstance(draft, Draft)}
    assert set(by_query["torn"].users) == {one, far}
    assert splits.place(by_query["agreed"]) == "train"
    left_out = LeftOut(task="multiclass_product_classification", reason="its users are in different splits")
    assert splits.place(by_query["torn"]) == left_out


def test_by_time_an_answer_has_the_time_of_the_latest_row_that_determines_it() -> None:
    days = [START + timedelta(days=day) for day in range(100)]
    searches = [Search(query=f"q{day}", product="p0", purchased=1, time=time) for day, time in enumerate(days)]
    searches += [
        Search(query="late", product="p0", clicked=1, time=days[0]),
        Search(query="late", product="p0", purchased=1, time=days[99]),
        Search(query="twice", product="p0", purchased=1, time=days[0]),
        Search(query="twice", product="p0", purchased=1, time=days[99]),
        Search(query="early", product="p0", purchased=1, time=days[0]),
        Search(query="early", product="p0", clicked=1, time=days[99]),
    ]
    shop = shop_of(2, searches=searches)
    options = BuildOptions(split_by="time", tasks=("mpc",))
    found = {draft.query: split for draft, split in drafts_of(shop, Splitter(shop, options), options)}
    assert found["late"] == found["twice"] == "test"
    assert found["early"] == "train"


def test_a_late_row_of_an_early_split_is_counted() -> None:
    shop, options = shop_of(2), BuildOptions(split_by="time")
    old, new = START, START + timedelta(days=9)

    def placed(split: Split, *times: datetime | None) -> PlacedDraft:
        draft = Draft(task="product_qa", times=times, input={}, output="A", products=("p0",))
        return PlacedDraft(draft=draft, split=split)

    drafts = [placed("train", old, new), placed("test", None, new)]
    (late,) = (check for check in check_leaks(drafts, shop, Splitter(shop, options), options) if "older" in check.what)
    assert (late.in_common, late.kept) == (1, False)
