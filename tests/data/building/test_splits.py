import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.data.building.builder import make_records
from caslie_tools.data.building.drafts import Draft, LeftOut
from caslie_tools.data.building.leaks import LeakCheck, check_leaks
from caslie_tools.data.building.logs import Event, Question, Review, Search
from caslie_tools.data.building.options import BuildOptions, Split, SplitBy
from caslie_tools.data.building.placing import place_drafts
from caslie_tools.data.building.seeded_random import pseudonym
from caslie_tools.data.building.shop_data import ShopData
from caslie_tools.data.building.splits import Splitter, group_products
from caslie_tools.data.building.task_builders import TASK_BUILDERS
from caslie_tools.data.writing import write_records
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
        user=users,
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


def write_dataset(folder: Path, shop: ShopData, options: BuildOptions) -> Path:
    """Writes the instances of all tasks to a file."""
    placed, _ = place_drafts(list(TASK_BUILDERS), shop, Splitter(shop, options), options)
    records, invalid = make_records(placed, "images/{}.png".format, folder, options)
    assert not invalid
    write_records(records, folder / "dataset.jsonl")
    return folder / "dataset.jsonl"


def checked(dataset: Path, shop: ShopData, options: BuildOptions) -> dict[str, LeakCheck]:
    return {check.what: check for check in check_leaks(dataset, shop, Splitter(shop, options), options)}


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
    with tempfile.TemporaryDirectory() as folder:
        checks = checked(write_dataset(Path(folder), shop, options), shop, options)
    assert [check for check in checks.values() if not check.kept] == []
    assert any(check.promised for what, check in checks.items() if what != "instances")


def write_rows(folder: Path, *rows: dict[str, Any]) -> Path:
    """Writes raw records of sentiment_analysis about the product p0, with changes."""
    review: dict[str, Any] = {"task": "sentiment_analysis", "input": {"review": "x"}, "output": "A", "products": ["p0"]}
    path = folder / "dataset.jsonl"
    path.write_text("".join(json.dumps(review | row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_leak_in_the_file_is_counted(tmp_path: Path) -> None:
    search = {
        "task": "product_substitute_identification",
        "input": {"query": "q", "product title": "Title 1"},
        "output": "yes",
        "images": ["images/0.png"],
    }
    rows = [row | {"users": ["u"], "split": split} for split in ("train", "test") for row in ({}, search)]
    found = checked(write_rows(tmp_path, *rows), shop_of(2), BuildOptions())
    kinds = ("products", "groups of variants", "product titles", "pictures", "queries", "users", "review texts")
    for what in (*kinds, "users of other instances"):
        assert found[what].in_common == 1
    assert found["instances"].in_common == 2
    assert not found["products"].kept
    assert found["queries"].kept  # not guaranteed if the data is split by product


@pytest.mark.parametrize("quote", ["Good.", "long " * 79 + "long ..."])
def test_a_quoted_author_of_another_split_is_counted_even_if_the_instance_names_no_user(
    tmp_path: Path, quote: str
) -> None:
    reviews = [Review(product="p0", text=text, stars=5, user="ann") for text in ("Good.", "long " * 200)]
    shop, options = shop_of(2, reviews=reviews), BuildOptions(split_by="user")
    written = {"input": {"review": "Good."}, "users": [pseudonym(options.seed, "ann")], "split": "train"}
    quoted = {
        "task": "answerability_prediction",
        "input": {"question": "Good?", "document": [quote]},
        "output": "yes",
        "split": "test",
    }
    assert checked(write_rows(tmp_path, written, quoted), shop, options)["users"].in_common == 1
    assert checked(write_rows(tmp_path, written, quoted | {"split": "train"}), shop, options)["users"].kept


def test_a_question_that_occurs_in_several_splits_is_left_out() -> None:
    options = BuildOptions(split_by="user", proportions=(0.5, 0.0, 0.5))
    users = "abcdefgh"
    reviews = [
        Review(product="p0", text=text, stars=5, user=user) for user in users for text in ("Fine.", f"I am {user}.")
    ]
    shop = shop_of(1, reviews=reviews)
    placed, left_out = place_drafts(["sentiment_analysis"], shop, Splitter(shop, options), options)
    assert {item.split for item in placed} == {"train", "test"}
    assert len(placed) == 8
    assert left_out == [LeftOut(task="sentiment_analysis", reason="the same question is in several splits")] * 8


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


@pytest.mark.parametrize(("day", "late"), [(8, 0), (9, 1)])
def test_an_instance_that_is_not_older_than_a_later_split_is_counted(tmp_path: Path, day: int, late: int) -> None:
    days = [(START + timedelta(days=day)).isoformat() for day in (day, 9)]
    rows = [{"split": split, "time": time} for split, time in zip(("train", "test"), days, strict=True)]
    found = checked(write_rows(tmp_path, *rows), shop_of(2), BuildOptions(split_by="time"))
    check = found["instances that are not older than a later split"]
    assert (check.in_common, check.kept) == (late, not late)
