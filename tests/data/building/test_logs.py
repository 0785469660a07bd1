import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from caslie_tools.data.building.logs import SourceFault, read_events, read_questions, read_reviews, read_searches
from caslie_tools.exceptions import DataError
from tests.data.building.sample_shop import write_log

PRODUCTS = {"mug", "lamp"}


def test_a_search_has_a_judgement_or_counts(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {
            "query": " red  mug ",
            "product": "mug",
            "judgement": "Exact",
            "user": "u1",
            "time": "2026-01-02T03:04:05+02:00",
        },
        {"query": "mug", "product": "mug", "judgement": "s"},
        {"query": "mug", "product": "lamp", "clicked": 3, "purchased": 1, "time": "0.0"},
    ]
    judged, letter, counted = read_searches(write_log(tmp_path / "s.csv", rows), PRODUCTS)
    assert not isinstance(judged, SourceFault)
    assert (judged.query, judged.judgement, judged.user) == ("red mug", "exact", "u1")
    assert judged.time == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert not isinstance(letter, SourceFault)
    assert letter.judgement == "substitute"
    assert not isinstance(counted, SourceFault)
    assert (counted.judgement, counted.clicked, counted.purchased) == (None, 3, 1)
    assert counted.time == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_log_may_be_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    rows = [{"product": "mug", "text": "Fine", "stars": 4.0, "image": "own.png"}, {"product": "mug", "stars": 5}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "[]\n{", encoding="utf-8")
    review, *faults = read_reviews(path, PRODUCTS)
    assert not isinstance(review, SourceFault)
    assert review.stars == 4
    assert review.image is not None
    assert review.image.path == tmp_path / "own.png"
    assert [(fault.item, fault.reason) for fault in faults if isinstance(fault, SourceFault)] == [
        ("line 2", "the column text is empty"),
        ("line 3", "the line is not a valid row"),
        ("line 4", "the line is not a valid row"),
    ]


def test_bad_searches_are_reported_by_line_and_the_other_rows_are_read(tmp_path: Path) -> None:
    rows = [
        {"query": "", "product": "mug", "judgement": "exact"},
        {"query": "mug", "product": "nowhere", "judgement": "exact"},
        {"query": "mug", "product": "mug", "judgement": "great"},
        {"query": "mug", "product": "mug"},
        {"query": "mug", "product": "mug", "clicked": "-1"},
        {"query": "mug", "product": "mug", "judgement": "exact", "time": "yesterday"},
        {"query": "mug", "product": "mug", "judgement": "exact", "time": "9e99"},
        {"query": "mug", "product": "mug", "judgement": "exact"},
    ]
    *faults, good = read_searches(write_log(tmp_path / "s.csv", rows), PRODUCTS)
    assert not isinstance(good, SourceFault)
    assert [str(fault) for fault in faults] == [
        "s.csv, line 2: the column query is empty",
        "s.csv, line 3: the product is not in the catalogue: nowhere",
        "s.csv, line 4: judgement is not one of exact, substitute, complement, irrelevant: great",
        "s.csv, line 5: the row has neither a judgement nor a click nor a purchase",
        "s.csv, line 6: clicked is not a count: -1",
        "s.csv, line 7: time is neither an ISO 8601 time nor seconds since 1970: yesterday",
        "s.csv, line 8: time is neither an ISO 8601 time nor seconds since 1970: 9e99",
    ]


@pytest.mark.parametrize("stars", ["0", "6", "4.5", "many", "", "٤"])
def test_stars_are_one_to_five(tmp_path: Path, stars: str) -> None:
    path = write_log(tmp_path / "r.csv", [{"product": "mug", "text": "Fine", "stars": stars}])
    (fault,) = read_reviews(path, PRODUCTS)
    assert isinstance(fault, SourceFault)
    assert fault.reason in ("stars is not 1, 2, 3, 4 or 5", "the column stars is empty")


def test_a_question_needs_an_answer_or_a_label_answerable(tmp_path: Path) -> None:
    rows = [
        {"product": "mug", "question": "Big?", "answer": "350 ml"},
        {"product": "mug", "question": "Big?", "answerable": "No"},
        {"product": "mug", "question": "Big?"},
        {"product": "mug", "question": "Big?", "answerable": "perhaps"},
    ]
    answered, unanswerable, *faults = read_questions(write_log(tmp_path / "q.csv", rows), PRODUCTS)
    assert not isinstance(answered, SourceFault)
    assert answered.answerable is None
    assert not isinstance(unanswerable, SourceFault)
    assert unanswerable.answerable is False
    assert [fault.reason for fault in faults if isinstance(fault, SourceFault)] == [
        "the row has neither answer nor answerable",
        "answerable is neither yes nor no",
    ]


def test_an_event_is_a_purchase_by_default(tmp_path: Path) -> None:
    rows = [
        {"user": "u", "product": "mug", "time": "2026-01-01"},
        {"user": "u", "product": "mug", "time": "2026-01-01", "event": "VIEW", "basket": "b"},
        {"user": "u", "product": "mug", "time": ""},
        {"user": "", "product": "mug", "time": "2026-01-01"},
        {"user": "u", "product": "mug", "time": "2026-01-01", "event": "return"},
    ]
    bought, viewed, *faults = read_events(write_log(tmp_path / "e.csv", rows), PRODUCTS)
    assert not isinstance(bought, SourceFault)
    assert not isinstance(viewed, SourceFault)
    assert (bought.event, viewed.event, viewed.basket) == ("purchase", "view", "b")
    assert [fault.reason for fault in faults if isinstance(fault, SourceFault)] == [
        "the column time is empty",
        "the column user is empty",
        "event is neither purchase nor view",
    ]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("20240131", datetime(2024, 1, 31, tzinfo=UTC)),
        ("20240131T0102", datetime(2024, 1, 31, 1, 2, tzinfo=UTC)),
        ("100000000", datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
        ("1706659200", datetime(2024, 1, 31, tzinfo=UTC)),
        ("86400.5", datetime(1970, 1, 2, microsecond=500_000, tzinfo=UTC)),
        ("20241331", None),
        ("86400", None),
    ],
)
def test_a_compact_date_is_not_read_as_seconds(tmp_path: Path, text: str, time: datetime | None) -> None:
    (event,) = read_events(write_log(tmp_path / "e.csv", [{"user": "u", "product": "mug", "time": text}]), PRODUCTS)
    assert (None if isinstance(event, SourceFault) else event.time) == time


def test_bytes_that_are_not_utf8_make_one_row_unusable(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_bytes("product,question,answer\nmug,Für große Köche?,ja\nmug,Big?,".encode() + b"\xff\nmug,Big?,yes\n")
    _, fault, good = read_questions(path, PRODUCTS)
    assert isinstance(fault, SourceFault)
    assert fault.reason == "answer is not UTF-8 text"
    assert not isinstance(good, SourceFault)


def test_a_log_that_cannot_be_read_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("product,answer\n", encoding="utf-8")
    with pytest.raises(DataError, match="question is missing"):
        list(read_questions(tmp_path / "q.csv", PRODUCTS))
    with pytest.raises(DataError, match=r"a log must be a \.csv, \.tsv, \.txt, \.jsonl or \.ndjson file"):
        list(read_questions(tmp_path / "q.xlsx", PRODUCTS))
    with pytest.raises(DataError, match="No such file"):
        list(read_questions(tmp_path / "none.csv", PRODUCTS))
