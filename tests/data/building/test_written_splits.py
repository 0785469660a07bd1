"""Reads a finished dataset, and proves from its text and the logs alone that its splits share nothing they must not.

The tests do not use the build's own knowledge: they find out by themselves whose log rows an instance is built from.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Set
from itertools import pairwise
from pathlib import Path
from typing import Any

from caslie_tools.data.building import BuildOptions, build_dataset
from caslie_tools.data.building.options import SplitBy
from caslie_tools.data.building.seeded_random import seeded_random
from tests.data.building.sample_shop import OPENED, write_log

DAY = 24 * 60 * 60
WORDS = ("blue", "green", "heavy", "light", "round", "small", "soft", "tall")

Rows = list[dict[str, Any]]


def shop_rows() -> dict[str, Rows]:
    """Logs in which every text is unique, so that each can be found in a dataset. Most rows have a user."""
    chance = seeded_random(3)
    products = [f"p{number}" for number in range(30)]
    users = [f"user{number}@example.com" for number in range(16)]

    def rows(count: int, **cells: Callable[[int], Any]) -> Rows:
        """Rows of one log, from 300 days."""
        return [
            {
                "product": chance.choice(products),
                "user": chance.choice(users) if number % 7 else "",
                "time": OPENED + number * 300 // count * DAY,
            }
            | {column: cell(number) for column, cell in cells.items()}
            for number in range(count)
        ]

    words = (" ".join(chance.sample(WORDS, 3)) for _ in range(10_000))
    return {
        "products": [
            {"id": name, "title": f"Thing {name}", "category": f"Shelf {number % 4}"}
            for number, name in enumerate(products)
        ],
        "searches": rows(200, query=lambda number: f"Query {number % 30}", judgement=lambda _: chance.choice("ESCI")),
        "reviews": rows(
            300, text=lambda number: f"Review {number}: {next(words)}.", stars=lambda number: 1 + number % 5
        ),
        "questions": rows(
            150,
            question=lambda number: f"Question {number}: is it {next(words)}?",
            answerable=lambda _: chance.choice(["yes", "no"]),
        ),
        "events": rows(
            500,
            user=lambda _: chance.choice(users),
            event=lambda _: chance.choice(["purchase", "view"]),
            time=lambda number: OPENED + number // 8 * 5 * DAY,
        ),
    }


def build(folder: Path, split_by: SplitBy) -> tuple[Rows, dict[str, Rows]]:
    """Builds a dataset. Returns its rows, with their JSON texts parsed, and the rows of the logs."""
    logs = shop_rows()
    paths = {kind: write_log(folder / f"{kind}.csv", rows) for kind, rows in logs.items()}
    catalogue = paths.pop("products")
    options = BuildOptions(split_by=split_by, proportions=(0.4, 0.3, 0.3), options=4)
    report = build_dataset(catalogue, folder / "out", logs=paths, options=options)
    assert [leak for leak in report.leaks if not leak.kept] == []
    lines = (folder / "out" / "dataset.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [{name: _parsed(value) for name, value in json.loads(line).items()} for line in lines]
    for task in ("answerability_prediction", "product_relation_prediction", "sentiment_analysis"):
        assert {row["split"] for row in rows if row["task"] == task} == {"train", "validation", "test"}
    return rows, logs


def _parsed(value: str) -> Any:
    return json.loads(value) if value[:1] in ("{", "[") else value


def texts(value: Any) -> Iterator[str]:
    """All texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from texts([*value.values()])
    else:
        for item in value or ():
            yield from texts(item)


def products_of(row: Mapping[str, Any]) -> set[str]:
    shown = " ".join(texts([row["input"], row["options"]]))
    return {name for name in (f"p{number}" for number in range(30)) if f"Thing {name} " in f"{shown} "}


def together(logs: Mapping[str, Rows], kind: str) -> dict[frozenset[str], set[str]]:
    """The users who bought, or viewed, two products on one day, by the products."""
    days: dict[tuple[str, int], set[str]] = defaultdict(set)
    for event in logs["events"]:
        if event["event"] == kind:
            days[event["user"], int(event["time"])].add(event["product"])
    pairs: dict[frozenset[str], set[str]] = defaultdict(set)
    for (user, _), bought in days.items():
        for product in bought:
            for other in bought - {product}:
                pairs[frozenset({product, other})].add(user)
    return pairs


def users_of(row: Mapping[str, Any], logs: Mapping[str, Rows]) -> Set[str]:
    """Finds the users whose log rows an instance is built from, in the text of the instance and in the logs."""
    shown = set(texts(row["input"]))
    found = {review["user"] for review in logs["reviews"] if review["text"] in shown}
    found |= {question["user"] for question in logs["questions"] if question["question"] in shown}
    if "query" in row["input"]:
        found |= {
            search["user"]
            for search in logs["searches"]
            if search["query"] == row["input"]["query"] and search["product"] in products_of(row)
        }
    if row["task"] == "product_relation_prediction" and row["output"] != "C":
        kind = {"A": "purchase", "B": "view"}[row["output"]]
        found |= together(logs, kind)[frozenset(products_of(row))]
    if row["task"] == "sequential_recommendation":
        answer = next(option for option in row["options"] if option.startswith(row["output"] + ":"))
        history = [title.split("Thing ")[1] for title in [*row["input"], answer]]
        bought: dict[str, set[str]] = defaultdict(set)
        for event in logs["events"]:
            if event["event"] == "purchase":
                bought[event["user"]].add(event["product"])
        found |= {user for user, products in bought.items() if products >= set(history)}
    return found - {""}


def splits_by_item(items: Iterator[tuple[str, str]]) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = defaultdict(set)
    for item, split in items:
        splits[item].add(split)
    return splits


def test_split_by_user_has_no_user_in_two_splits(tmp_path: Path) -> None:
    rows, logs = build(tmp_path, "user")
    splits = splits_by_item((user, row["split"]) for row in rows for user in users_of(row, logs))
    assert len(splits) == 16
    assert {user: found for user, found in splits.items() if len(found) > 1} == {}


def test_split_by_product_has_no_product_in_two_splits(tmp_path: Path) -> None:
    rows, _ = build(tmp_path, "product")
    named = ((product, row["split"]) for row in rows for product in {*products_of(row), *row["products"]})
    splits = splits_by_item(named)
    assert len(splits) == 30
    assert {product: found for product, found in splits.items() if len(found) > 1} == {}


def test_split_by_query_has_no_query_in_two_splits(tmp_path: Path) -> None:
    rows, _ = build(tmp_path, "query")
    splits = splits_by_item((row["input"]["query"].lower(), row["split"]) for row in rows if "query" in row["input"])
    assert len(splits) == 30
    assert {query: found for query, found in splits.items() if len(found) > 1} == {}


def test_split_by_time_has_no_row_in_train_that_is_as_late_as_a_row_in_a_later_split(tmp_path: Path) -> None:
    rows, logs = build(tmp_path, "time")
    times: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        shown = set(texts(row["input"]["review"] if "review" in row["input"] else row["input"]))
        asked = [one["time"] for one in logs["questions"] if one["question"] in shown]
        asked += [
            one["time"] for one in logs["reviews"] if row["task"] == "sentiment_analysis" and one["text"] in shown
        ]
        times[row["split"]] += map(int, asked)
    for earlier, later in pairwise(("train", "validation", "test")):
        assert max(times[earlier]) < min(times[later])


def test_the_dataset_names_the_products_and_users_but_not_by_the_ids_of_users(tmp_path: Path) -> None:
    rows, logs = build(tmp_path, "user")
    names: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if len(users := users_of(row, logs)) == 1:
            names[next(iter(users))] |= {*row["users"]}
        if named := products_of(row):
            assert set(row["products"]) == named
        assert row["products"]
    assert [len(name) for name in names.values()] == [1] * 16
    assert len({*texts([*names.values()])}) == 16
    assert "example.com" not in (tmp_path / "out" / "dataset.jsonl").read_text("utf-8")
