"""Reads a shop's logs, CSV or JSON Lines: searches, reviews, questions and events.

Files are UTF-8. The first line of a CSV file has the column names. Other columns are ignored. ``product`` is a
catalogue id. ``time`` is ISO 8601 (UTC without a time zone) or seconds since 1970. Seconds need at least nine digits or
a fraction, because eight digits are a date. ``user`` is any id.

========== ================================================================================================
log        columns (those with ``?`` may be missing or empty)
========== ================================================================================================
searches   ``query``, ``product``, ``judgement?`` (``exact``, ``substitute``, ``complement``, ``irrelevant``, or ESCI's
           letters E, S, C, I), ``clicked?``, ``purchased?`` (counts), ``user?``, ``time?``
reviews    ``product``, ``text``, ``stars`` (1 to 5), ``user?``, ``time?``, ``image?`` (a picture that the reviewer
           attached: a URL, or a path relative to the file)
questions  ``product``, ``question``, ``answer?``, ``answerable?`` (yes or no), ``user?``, ``time?``
events     ``user``, ``product``, ``time``, ``event?`` (``purchase``, the default, or ``view``), ``basket?`` (id of the
           basket)
========== ================================================================================================

A row that cannot be used is reported with its line number and the reason. The other rows are still read.
"""

import re
from collections.abc import Callable, Container, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from caslie_tools.catalogue.rows import read_rows, valid_text
from caslie_tools.domain import FrozenModel, ImageRef
from caslie_tools.exceptions import DataError

Judgement: TypeAlias = Literal["exact", "substitute", "complement", "irrelevant"]

_JUDGEMENTS: Mapping[str, Judgement] = {
    "exact": "exact",
    "e": "exact",
    "substitute": "substitute",
    "s": "substitute",
    "complement": "complement",
    "c": "complement",
    "irrelevant": "irrelevant",
    "i": "irrelevant",
}
_SECONDS = re.compile(r"[0-9]{9,}|[0-9]+\.[0-9]+")
_TRUTH = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


class SourceFault(FrozenModel):
    """A row or picture of a source that cannot be used."""

    source: str
    """The file's name."""
    item: str
    """The line number, the product's id or the picture."""
    reason: str
    """The reason. Faults of one kind have the same text here, so that they can be counted."""
    detail: str = ""
    """What is specific to this fault."""

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.source}, {self.item}: {self.reason}{detail}"


class Search(FrozenModel):
    """A search result: a product that was shown for a query."""

    query: str
    product: str
    judgement: Judgement | None = None
    """How well the product fits the query. ``None`` without a judgement."""
    clicked: int = 0
    purchased: int = 0
    user: str = ""
    time: datetime | None = None


class Review(FrozenModel):
    """A customer's review of a product."""

    product: str
    text: str
    stars: int
    """1 to 5."""
    user: str = ""
    time: datetime | None = None
    image: ImageRef | None = None
    """The picture that the reviewer attached."""


class Question(FrozenModel):
    """A shopper's question about a product."""

    product: str
    question: str
    answer: str = ""
    answerable: bool | None = None
    """Whether the reviews answer the question. ``None`` without a label. Independent of :attr:`answer`."""
    user: str = ""
    time: datetime | None = None


class Event(FrozenModel):
    """A purchase or a view."""

    user: str
    product: str
    time: datetime
    event: Literal["purchase", "view"] = "purchase"
    basket: str = ""


LogRow = TypeVar("LogRow", Search, Review, Question, Event)


def read_searches(path: Path, products: Container[str]) -> Iterator[Search | SourceFault]:
    """Yields the rows of a log of searches. See :func:`read_reviews`."""
    return _read(path, products, _search, ("query", "product"))


def read_reviews(path: Path, products: Container[str]) -> Iterator[Review | SourceFault]:
    """Yields the rows of a log of reviews. A row that cannot be used is yielded as a :class:`SourceFault`.

    Args:
        path: A ``.csv`` or ``.jsonl`` file.
        products: Ids of the catalogue's products.

    Raises:
        DataError: If the file cannot be read at all.
    """
    return _read(path, products, _review, ("product", "text", "stars"))


def read_questions(path: Path, products: Container[str]) -> Iterator[Question | SourceFault]:
    """Yields the rows of a log of questions. See :func:`read_reviews`."""
    return _read(path, products, _question, ("product", "question"))


def read_events(path: Path, products: Container[str]) -> Iterator[Event | SourceFault]:
    """Yields the rows of a log of purchases and views. See :func:`read_reviews`."""
    return _read(path, products, _event, ("user", "product", "time"))


class _RowError(ValueError):
    """A row cannot be used."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class _Cells:
    """The cells of one row, by column."""

    def __init__(self, row: Mapping[str, Any], base: Path) -> None:
        self._row = row
        self.base = base

    def text(self, column: str, *, needed: bool = False) -> str:
        try:
            text = " ".join(valid_text(self._row.get(column)).split())
        except ValueError as error:
            raise _RowError(f"{column} is not UTF-8 text") from error
        if needed and not text:
            raise _RowError(f"the column {column} is empty")
        return text

    def count(self, column: str) -> int:
        text = self.text(column) or "0"
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            raise _RowError(f"{column} is not a count", text[:60])
        return int(text)

    def time(self, column: str = "time") -> datetime | None:
        text = self.text(column)
        if not text:
            return None
        try:
            if _SECONDS.fullmatch(text):
                return datetime.fromtimestamp(float(text), UTC)
            time = datetime.fromisoformat(text)
            return (time.replace(tzinfo=UTC) if time.tzinfo is None else time).astimezone(UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise _RowError(f"{column} is neither an ISO 8601 time nor seconds since 1970", text[:60]) from error


def _read(
    path: Path, products: Container[str], make: Callable[[_Cells], LogRow], required: tuple[str, ...]
) -> Iterator[LogRow | SourceFault]:
    for line, row in read_rows(path, kind="a log", required=required, error=DataError):
        item = f"line {line}"
        if isinstance(row, str):
            yield SourceFault(source=path.name, item=item, reason="the line is not a valid row", detail=row)
            continue
        try:
            made = make(_Cells(row, path.parent))
            if made.product not in products:
                raise _RowError("the product is not in the catalogue", made.product[:60])
        except _RowError as error:
            yield SourceFault(source=path.name, item=item, reason=error.reason, detail=error.detail)
            continue
        yield made


def _search(cells: _Cells) -> Search:
    judgement = cells.text("judgement")
    if judgement and judgement.lower() not in _JUDGEMENTS:
        raise _RowError("judgement is not one of exact, substitute, complement, irrelevant", judgement[:60])
    search = Search(
        query=cells.text("query", needed=True),
        product=cells.text("product", needed=True),
        judgement=_JUDGEMENTS.get(judgement.lower()),
        clicked=cells.count("clicked"),
        purchased=cells.count("purchased"),
        user=cells.text("user"),
        time=cells.time(),
    )
    if search.judgement is None and not search.clicked and not search.purchased:
        raise _RowError("the row has neither a judgement nor a click nor a purchase")
    return search


def _review(cells: _Cells) -> Review:
    stars = cells.text("stars", needed=True)
    if stars.removesuffix(".0") not in ("1", "2", "3", "4", "5"):
        raise _RowError("stars is not 1, 2, 3, 4 or 5", stars[:60])
    image = cells.text("image")
    try:
        picture = ImageRef.parse(image, base=cells.base.resolve()) if image else None
    except ValueError as error:
        raise _RowError("image is neither a path nor a URL") from error
    return Review(
        product=cells.text("product", needed=True),
        text=cells.text("text", needed=True),
        stars=int(stars[0]),
        user=cells.text("user"),
        time=cells.time(),
        image=picture,
    )


def _question(cells: _Cells) -> Question:
    answerable = cells.text("answerable").lower()
    if answerable and answerable not in _TRUTH:
        raise _RowError("answerable is neither yes nor no", answerable[:60])
    question = Question(
        product=cells.text("product", needed=True),
        question=cells.text("question", needed=True),
        answer=cells.text("answer"),
        answerable=_TRUTH.get(answerable),
        user=cells.text("user"),
        time=cells.time(),
    )
    if question.answerable is None and not question.answer:
        raise _RowError("the row has neither answer nor answerable")
    return question


def _event(cells: _Cells) -> Event:
    event = cells.text("event").lower() or "purchase"
    if event not in ("purchase", "view"):
        raise _RowError("event is neither purchase nor view", event[:60])
    time = cells.time()
    if time is None:
        raise _RowError("the column time is empty")
    return Event(
        user=cells.text("user", needed=True),
        product=cells.text("product", needed=True),
        time=time,
        event="purchase" if event == "purchase" else "view",
        basket=cells.text("basket"),
    )
