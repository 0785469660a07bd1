"""The nouns: products, images, captions, votes and predictions.

Everything here is plain data, frozen and JSON-able, so that it can cross a process, a checkpoint or a tool call.
"""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_serializer, field_validator, model_validator

AttributeValue = str | bool | int | FiniteFloat
"""A product's free attribute: filters compare numbers as numbers and texts as texts."""


class FrozenModel(BaseModel):
    """Base of the domain: frozen, and strict about names."""

    # What was refused may hold a signed URL or a picture's bytes: errors do not repeat it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ImageRef(FrozenModel):
    """Where an image is: exactly one of a path, its bytes, or a URL.

    The text form (``str``, ``repr``) never shows bytes, and of a URL only scheme, host and path: credentials and
    signed queries stay out of logs.
    """

    path: Path | None = None
    """A file on this machine."""
    data: bytes | None = Field(default=None, repr=False)
    """The encoded image itself; base64 in JSON."""
    url: str | None = Field(default=None, repr=False)
    """A ``data:`` or ``http(s)://`` URL."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.path, self.data, self.url)) != 1:
            raise ValueError("an image is exactly one of path, data or url")
        if self.url is not None and not re.match(r"(?i)(https?://|data:)", self.url):
            raise ValueError("an image URL starts with http://, https:// or data:")
        return self

    @field_validator("data", mode="before")
    @classmethod
    def _from_base64(cls, value: object) -> object:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else value

    @field_serializer("data", when_used="json")
    def _to_base64(self, value: bytes | None) -> str | None:
        return None if value is None else base64.b64encode(value).decode("ascii")

    @classmethod
    def parse(cls, text: str, *, base: Path | None = None) -> Self:
        """Reads a reference as people write it in a catalogue: a URL, or a path relative to ``base``."""
        text = text.strip()
        if re.match(r"(?i)(https?|data):", text):
            return cls(url=text)
        return cls(path=(base / text) if base is not None else Path(text))

    @property
    def label(self) -> str:
        """A short name for people: a file name, or a URL without credentials and query."""
        if self.path is not None:
            return self.path.name
        if self.data is not None:
            return f"{len(self.data)} bytes"
        assert self.url is not None  # noqa: S101 (the validator's promise, restated for the type checker)
        if self.url[:5].lower() == "data:":
            return "data URL"
        try:
            parts = urlsplit(self.url)
        except ValueError:  # such as half an IPv6 address
            return "malformed URL"
        return f"{parts.scheme}://{parts.hostname}{parts.path}"

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        return f"ImageRef({self.label!r})"


class Product(FrozenModel):
    """One product of a catalogue."""

    id: str = Field(min_length=1, max_length=512)
    title: str = ""
    description: str = ""
    category: str = ""
    """A path such as ``Fruit > Apple``."""
    price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """In the catalogue's own currency."""
    brand: str = ""
    attributes: dict[str, AttributeValue] = Field(default_factory=dict)
    images: tuple[ImageRef, ...] = ()

    @property
    def fields(self) -> dict[str, str]:
        """The product's text, by field name, without the empty fields."""
        named = {"title": self.title, "brand": self.brand, "category": self.category, "description": self.description}
        if self.price is not None:
            named["price"] = f"{self.price:g}"
        named |= {name: str(value) for name, value in self.attributes.items() if name not in named}
        return {name: value for name, value in named.items() if value}

    @property
    def text(self) -> str:
        """The product's text in one piece, for search."""
        return "\n".join(f"{name}: {value}" for name, value in self.fields.items())


class QueryContext(FrozenModel):
    """What a caption is for. EC3 conditions on it, CQE judges by it (paper sections on EC3 and CQE)."""

    task: str
    """The task's name."""
    aim: str = ""
    """What the caption must help with, as the end of "to help with ..."."""
    focus: str = ""
    """The instance's own text: the question, the search query, the review ... Empty for a general caption."""
    known: str = ""
    """Text already at hand about the pictured product, such as its title."""
    question: str = ""
    """What the judges are asked, a yes/no question."""

    @property
    def text(self) -> str:
        """What makes two contexts alike: the focus, else the known text. The store embeds it."""
        return self.focus or self.known

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole context."""
        return _digest(self.model_dump())


EvidenceKind = Literal["text", "tag", "resembles", "colour"]


class Evidence(FrozenModel):
    """One thing a captioner saw, where it can tell."""

    kind: EvidenceKind
    """``text`` read off the picture, a classifier's ``tag``, a catalogue product it ``resembles``, or a ``colour``."""
    text: str
    score: float = Field(ge=0, le=1)
    """The recogniser's confidence; for a colour its share of the picture."""


class CaptionDraft(FrozenModel):
    """What a captioner answers: the words, and the evidence behind them where it knows it."""

    text: str
    evidence: tuple[Evidence, ...] = ()


class Caption(FrozenModel):
    """A caption with its provenance."""

    key: str
    """SHA-256 (hex) of image, context, captioner and prompt version: see :func:`caption_key`. Empty for a given
    caption, which the store does not hold."""
    text: str
    image: str
    """SHA-256 (hex) of the image's bytes. Empty for a given caption."""
    context: QueryContext
    """The context that the caption was made for."""
    captioner: str
    """Identity of the model that made the caption."""
    prompt_version: str
    evidence: tuple[Evidence, ...] = ()
    source: Literal["cache", "generated", "given"] = "generated"
    """Reused from the store, made for this request, or given by the caller."""
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def given(cls, text: str, context: QueryContext) -> Self:
        """Returns a caption that the caller supplied instead of a captioner."""
        return cls(key="", text=text, image="", context=context, captioner="given", prompt_version="", source="given")


def caption_key(image: str, context: QueryContext, captioner: str, prompt_version: str) -> str:
    """The key a caption is stored under: equal only if image, context, captioner and prompt are.

    Args:
        image: SHA-256 (hex) of the image's bytes.
        context: What the caption is for.
        captioner: Identity of the captioner.
        prompt_version: Version of the prompt's wording.
    """
    return _digest([image, context.model_dump(), captioner, prompt_version])


Verdict = Literal["yes", "no", "abstain"]
Probability = Annotated[float, Field(ge=0, le=1)]


JudgeFailure = Literal["unavailable", "timeout", "refused", "missing_dependency", "error"]
"""Why a judge could not vote: its server cannot be reached, it exceeded its time limit, its server refused the request,
an optional dependency is not installed, or any other error."""


class Vote(FrozenModel):
    """One judge's answer to the question whether a caption helps."""

    judge: str
    verdict: Verdict
    probability: Probability | None = None
    """P(yes), if the judge reports one."""
    reason: str = ""
    failure: JudgeFailure | None = None
    """Why the judge could not vote. ``None`` for a judge that answered, also for one that answered neither yes nor
    no. A failed judge abstains."""

    @model_validator(mode="after")
    def _a_failed_judge_abstains(self) -> Self:
        if self.failure is not None and self.verdict != "abstain":
            raise ValueError("a judge that failed abstains")
        return self


class GateDecision(FrozenModel):
    """What the jury (CQE) decided about one caption."""

    kept: bool
    votes: tuple[Vote, ...] = ()
    """In the order of the jury; judges that were not needed any more are missing."""
    margin: float = Field(default=0.0, ge=-1, le=1)
    """(yes - no) / valid votes cast; 0 without any."""
    abstentions: int = 0
    unasked: int = 0
    """Judges that were spared because the majority was settled without them."""
    reason: str = ""
    decided_by: Literal["jury", "person"] = "jury"
    turned_by_one: bool | None = None
    """Whether one vote less would have turned it, where a tuned gate weighed the votes."""

    @property
    def thin(self) -> bool:
        """Whether one vote more or less would have turned it."""
        if self.turned_by_one is not None:
            return self.turned_by_one
        yes = sum(vote.verdict == "yes" for vote in self.votes)
        no = sum(vote.verdict == "no" for vote in self.votes)
        return abs(yes - no) <= 1

    @property
    def jury_failed(self) -> bool:
        """Whether every judge that was asked failed, so that the decision rests on no vote at all."""
        return bool(self.votes) and all(vote.failure is not None for vote in self.votes)


class Citation(FrozenModel):
    """Where an answer was read: a product's field or a kept caption."""

    product: str | None = None
    """Product id, where the evidence belongs to a catalogue product."""
    field: str
    """The field's name, or ``caption``."""
    image: str | None = None
    """SHA-256 (hex) of the image, for a caption."""
    quote: str


class Answer(FrozenModel):
    """What a predictor answers, before it is checked against the task."""

    text: str
    """The raw answer."""
    probabilities: dict[str, Probability] | None = None
    """By label, where the predictor has them."""
    citations: tuple[Citation, ...] = ()
    answerable: bool | None = None
    """For open questions: whether the evidence answers it."""


class Prediction(FrozenModel):
    """A task's result."""

    task: str
    label: str | None = None
    """For tasks with a closed set of answers: one of them, or ``None`` when the answer is none of them."""
    text: str = ""
    """The predictor's own words."""
    probabilities: dict[str, Probability] | None = None
    citations: tuple[Citation, ...] = ()
    answerable: bool | None = None
    captions: tuple[Caption, ...] = ()
    """The captions that were fused in."""
    fused: str = ""
    """The text the predictor saw."""

    @property
    def valid(self) -> bool:
        """Whether the task has no closed set of answers, or the answer is one of it."""
        return self.label is not None or self.answerable is not None


class ProgressCallback(Protocol):
    """Receives the progress of a long run, one call per finished item.

    The result of an item is stored before the callback is called for it.
    """

    def __call__(self, step: str, item: str, done: int, total: int, /) -> None:
        """Receives the step's name, the item just finished, how many items are done and how many there are."""
        ...


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
