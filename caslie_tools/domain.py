"""The data model: products, images, captions, votes and predictions.

All types are plain data, frozen and serialisable as JSON, so that they can be sent to another process, stored in a
checkpoint or returned by a tool.
"""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_serializer, field_validator, model_validator

AttributeValue = str | bool | int | FiniteFloat
"""The value of a product's own attribute. Filters compare numbers as numbers and texts as texts."""


class FrozenModel(BaseModel):
    """Base class of the data model: frozen, and unknown fields are an error."""

    # A rejected value may contain a signed URL or the bytes of an image: error messages leave it out.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ImageRef(FrozenModel):
    """The location of an image: exactly one of a path, its bytes, or a URL.

    The text forms (``str``, ``repr``) show no bytes, and only the scheme, host and path of a URL. Credentials and
    signed queries do not reach logs.
    """

    path: Path | None = None
    """A file on this machine."""
    data: bytes | None = Field(default=None, repr=False)
    """The encoded image. Base64 in JSON."""
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
        """Parses a reference as written in a catalogue: a URL, or a path relative to ``base``."""
        text = text.strip()
        if re.match(r"(?i)(https?|data):", text):
            return cls(url=text)
        return cls(path=(base / text) if base is not None else Path(text))

    @property
    def label(self) -> str:
        """A short name for display: a file name, or a URL without credentials and query."""
        if self.path is not None:
            return self.path.name
        if self.data is not None:
            return f"{len(self.data)} bytes"
        assert self.url is not None  # noqa: S101 (guaranteed by the validator; for the type checker)
        if self.url[:5].lower() == "data:":
            return "data URL"
        try:
            parts = urlsplit(self.url)
        except ValueError:  # for example an incomplete IPv6 address
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
    """In the currency of the catalogue."""
    brand: str = ""
    attributes: dict[str, AttributeValue] = Field(default_factory=dict)
    images: tuple[ImageRef, ...] = ()

    @property
    def fields(self) -> dict[str, str]:
        """The texts of the product by field name. Empty fields are left out."""
        named = {"title": self.title, "brand": self.brand, "category": self.category, "description": self.description}
        if self.price is not None:
            named["price"] = f"{self.price:g}"
        named |= {name: str(value) for name, value in self.attributes.items() if name not in named}
        return {name: value for name, value in named.items() if value}

    @property
    def text(self) -> str:
        """All texts of the product as one string, for search."""
        return "\n".join(f"{name}: {value}" for name, value in self.fields.items())


GENERAL_TASK: Final = "index"
"""The task of the context of a general caption, which is made without a question when an image is indexed."""


class QueryContext(FrozenModel):
    """The context of a caption: the task and the text that it must help with.

    EC3 captions the image for this context, and CQE judges the caption by it (paper, sections EC3 and CQE).
    """

    task: str
    """The task's name."""
    aim: str = ""
    """What the caption must help with. It completes the sentence "The caption must help with ..."."""
    focus: str = ""
    """The text that the caption must help with: a question, a search query or a review. Empty if there is none, as for
    a task about the product as a whole. A product's title is never the focus."""
    known: str = ""
    """The text that is already available about the product in the image, for example its title. A caption need not
    repeat it."""
    compared_with: str = ""
    """The text of another product that the pictured one is compared with. Empty if there is none."""
    question: str = ""
    """The yes/no question for the judges."""

    @property
    def text(self) -> str:
        """The text by which two contexts are compared: ``focus``, or ``known`` if it is empty. The store embeds it."""
        return self.focus or self.known

    @property
    def is_general(self) -> bool:
        """Whether a caption for this context is a general one, made when its image is indexed."""
        return self.task == GENERAL_TASK

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all fields."""
        return _digest(self._identity())

    def _identity(self) -> dict[str, str]:
        """Returns the fields that tell contexts apart. An empty ``compared_with`` does not change stored keys."""
        fields: dict[str, str] = self.model_dump()
        return fields if self.compared_with else {name: fields[name] for name in fields if name != "compared_with"}


EvidenceKind = Literal["text", "tag", "resembles", "colour"]


class Evidence(FrozenModel):
    """One thing that a captioner recognised in an image."""

    kind: EvidenceKind
    """``text`` in the image, a ``tag`` of a classifier, a catalogue product that the image ``resembles``, or a
    ``colour``."""
    text: str
    score: float = Field(ge=0, le=1)
    """The confidence of the recogniser. For a colour, its share of the image."""


class CaptionDraft(FrozenModel):
    """The answer of a captioner: the text, and the evidence for it if the captioner reports evidence."""

    text: str
    evidence: tuple[Evidence, ...] = ()


class Caption(FrozenModel):
    """A caption and its provenance."""

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
    """Returns the key that a caption is stored under. Equal keys mean equal image, context, captioner and prompt.

    Args:
        image: SHA-256 (hex) of the image's bytes.
        context: What the caption is for.
        captioner: Identity of the captioner.
        prompt_version: Version of the prompt's wording.
    """
    return _digest([image, context._identity(), captioner, prompt_version])


Verdict = Literal["yes", "no", "abstain"]
Probability = Annotated[float, Field(ge=0, le=1)]


JudgeFailure = Literal["unavailable", "timeout", "refused", "missing_dependency", "unsupported", "error"]
"""Why a judge could not vote: its server cannot be reached, it exceeded its time limit, its server refused the request,
an optional dependency is not installed, its model lacks an ability, or any other error."""


class Vote(FrozenModel):
    """One judge's answer to the question whether a caption helps."""

    judge: str
    verdict: Verdict
    probability: Probability | None = None
    """P(yes), if the judge reports one."""
    reason: str = ""
    signals: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Numbers behind the vote, by name, if the judge reports any."""
    failure: JudgeFailure | None = None
    """Why the judge could not vote. ``None`` for a judge that answered, also for one that answered neither yes nor
    no. A failed judge abstains."""

    @model_validator(mode="after")
    def _a_failed_judge_abstains(self) -> Self:
        if self.failure is not None and self.verdict != "abstain":
            raise ValueError("a judge that failed abstains")
        return self


class CheckedClaim(FrozenModel):
    """One claim of a caption, checked against the image."""

    text: str
    kept: bool
    """Whether the claim stays in the caption. A claim that could not be checked does."""
    vote: Vote
    """Whether the claim is true. An abstention says why it could not be checked."""


class EffectEstimate(FrozenModel):
    """The estimated probability of each effect of a caption on the answer. They sum to 1."""

    helpful: Probability
    """The answer is right only with the caption."""
    redundant: Probability
    """It is right with and without the caption."""
    misleading: Probability
    """It is right only without the caption."""
    ineffective: Probability
    """It is wrong with and without the caption."""


class GateDecision(FrozenModel):
    """The jury's (CQE's) decision about one caption."""

    kept: bool
    votes: tuple[Vote, ...] = ()
    """In the order of the jury, without the skipped judges."""
    margin: float = Field(default=0.0, ge=-1, le=1)
    """(yes - no) / valid votes. 0 if there are no valid votes."""
    abstentions: int = 0
    skipped_judges: int = 0
    """Number of judges that were not asked, because the decision did not depend on their votes."""
    quorum: int = Field(default=1, ge=1)
    """Number of valid votes that was needed to keep the caption."""
    reason: str = ""
    decided_by: Literal["jury", "judge", "person"] = "jury"
    """``judge``: by one judge of the jury that may decide alone."""
    one_vote_decides: bool | None = None
    """Whether one vote decided a tuned gate, or its quorum; or whether the judge that decided alone was undecided.
    ``None`` if the votes were counted."""
    signals: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Numbers about the caption itself, by name: see :func:`caslie_tools.pipeline.learned_gate.caption_signals`."""
    claims: tuple[CheckedClaim, ...] = ()
    """The claims of the caption, if they were checked. The decision is about those that were kept."""
    estimate: EffectEstimate | None = None
    """The estimate of a learned gate, if one decided."""

    @property
    def is_close(self) -> bool:
        """Whether one vote decided: a margin of at most one vote, or a quorum that was met or missed by one vote."""
        yes = sum(vote.verdict == "yes" for vote in self.votes)
        no = sum(vote.verdict == "no" for vote in self.votes)
        over_quorum = yes + no + self.skipped_judges - self.quorum
        if self.one_vote_decides is not None:
            return self.one_vote_decides
        if over_quorum < 0:
            return over_quorum == -1 and yes >= no
        return abs(yes - no) <= 1 or (over_quorum == 0 and yes > no)

    @property
    def jury_failed(self) -> bool:
        """Whether every judge that was asked failed, so that the decision rests on no vote at all."""
        return bool(self.votes) and all(vote.failure is not None for vote in self.votes)


class Citation(FrozenModel):
    """The source of an answer: a field of a product, or a kept caption."""

    product: str | None = None
    """Id of the catalogue product that the source belongs to, if there is one."""
    field: str
    """The field's name, or ``caption``."""
    image: str | None = None
    """SHA-256 (hex) of the image, if the source is a caption."""
    quote: str


class Answer(FrozenModel):
    """The answer of a predictor, before it is checked against the task."""

    text: str
    """The raw answer."""
    probabilities: dict[str, Probability] | None = None
    """By label, if the predictor reports them."""
    citations: tuple[Citation, ...] = ()
    answerable: bool | None = None
    """For an open question: whether the available texts and captions answer it."""


class Prediction(FrozenModel):
    """The result of a task."""

    task: str
    label: str | None = None
    """For a task with a closed set of answers: one of them. ``None`` if the predictor's answer is not in the set."""
    text: str = ""
    """The raw answer of the predictor."""
    probabilities: dict[str, Probability] | None = None
    citations: tuple[Citation, ...] = ()
    answerable: bool | None = None
    captions: tuple[Caption, ...] = ()
    """The captions in the fused text."""
    fused: str = ""
    """The fused text, which is the predictor's input."""

    @property
    def valid(self) -> bool:
        """Whether the answer is in the task's closed set of answers, or the task has no such set."""
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
