"""The outcome of one instance under every treatment. Scores and reports are computed from outcomes alone."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from pydantic import Field, FiniteFloat

from caslie_tools.domain import FrozenModel, Probability, Vote

Treatment: TypeAlias = str
"""The name of a treatment: what the predictor gets, such as which captions are fused into its input."""

TREATMENTS: Final[Mapping[Treatment, str]] = {
    "none": "no captions: text only",
    "every": "all captions that EC3 makes for the instance",
    "gated": "those of EC3's captions that the jury keeps",
    "text_first": "no captions if the answer from text alone is sure enough, otherwise as gated",
    "plain": "captions of the picture alone, made without any context",
    "general": "captions made for no task, but with the text of the product, as for the catalogue",
    "given": "the captions in the data",
    "given_gated": "those captions in the data that the jury keeps",
    "given_voted": "those captions in the data that the votes in the data keep",
    "pixels": "no captions: another model, the vision predictor, answers from the text and the pictures themselves",
}
"""The treatments that every run can have, with a description each, in the order of reports."""
DEFAULT_TREATMENTS: Final[tuple[Treatment, ...]] = ("none", "every", "gated", "plain", "given")

JUDGE: Final = "judge:"
"""``judge:NAME`` is a treatment: those of EC3's captions that one judge alone keeps."""
CAPTIONER: Final = "captioner:"
"""``captioner:NAME`` is a treatment: all captions of one captioner."""


def describe_treatment(name: Treatment) -> str:
    """Returns which captions a treatment fuses."""
    if name.startswith(JUDGE):
        return f"those of EC3's captions that the judge {name.removeprefix(JUDGE)} alone keeps"
    if name.startswith(CAPTIONER):
        return f"all captions of the captioner {name.removeprefix(CAPTIONER)}"
    return TREATMENTS.get(name, "")


def sort_treatments(names: Iterable[Treatment]) -> list[Treatment]:
    """Returns different treatments in the order of reports: judges and captioners come last, in their order."""
    order = list(TREATMENTS)
    return sorted(dict.fromkeys(names), key=lambda name: order.index(name) if name in order else len(order))


class CaptionOutcome(FrozenModel):
    """The caption of one image."""

    image: int
    """Position among the instance's images."""
    text: str = ""
    """The caption. Empty if there is no caption."""
    kept: bool = False
    """Whether the jury keeps the caption. Only under a treatment that judges captions."""
    votes: tuple[Vote, ...] = ()
    """The votes of the whole jury, for calibration. Only under ``gated`` and ``given_gated``."""
    removed: tuple[str, ...] = ()
    """The claims that were removed from the caption, because they are false."""
    signals: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Numbers about the caption itself, where there are votes. Outcomes of older versions have none."""
    error: str = ""
    """Why there is no caption, if captioning failed. Under ``pixels``: why there is no image."""
    right_without: bool | None = None
    """Whether the answer is right with all captions but this one. Only under ``every``, for an instance with several
    captions, if leaving one out was evaluated."""


class Cost(FrozenModel):
    """The cost of one treatment of one instance, as if it were the only treatment."""

    captioner_calls: int = 0
    judge_calls: int = 0
    """Number of votes until the jury may stop early. Later votes of the whole jury do not count."""
    predictor_calls: int = 0
    cached_captions: int = 0
    """Number of captions that were already in the store."""
    prompt_tokens: int = 0
    """Tokens that the models report. A model that reports none counts as 0."""
    completion_tokens: int = 0
    """Tokens that the models report. A model that reports none counts as 0."""
    seconds: float = 0.0
    """Total duration of the model calls, without waiting for a free slot. Parallel calls are added up."""


class TreatmentOutcome(FrozenModel):
    """The outcome of one instance under one treatment."""

    answer: str | None = None
    """The label answered, or ``None`` for an answer that is not a label. For an open question: the text."""
    text: str = ""
    """The model's response."""
    right: bool = False
    probabilities: dict[str, Probability] | None = None
    fused: int = 0
    """Number of captions fused."""
    captions: tuple[CaptionOutcome, ...] = ()
    cost: Cost = Cost()
    error: str = ""
    """Why there is no answer, if a model failed. Such an outcome counts as wrong."""

    @property
    def failed(self) -> bool:
        """Whether a model failed."""
        return bool(self.error)


class Outcome(FrozenModel):
    """The outcome of one instance under every treatment. One line of the run's JSON Lines file."""

    index: int
    """The record's position in the data, from 0."""
    key: str
    """The record's key. A resumed run skips keys that already have an outcome."""
    task: str
    split: str
    gold: str
    """The right answer."""
    input: str = ""
    """The text of the instance, shortened, for the examples of a report."""
    options: tuple[str, ...] = ()
    """The options, such as ``B: Kettles``. Empty for a task without options."""
    images: tuple[str | None, ...] = ()
    """The path or URL of each image. ``None`` for a missing image and for image data in a URL."""
    products: tuple[str, ...] = ()
    """Names of the products that the instance is about, see :func:`~caslie_tools.evaluation.products.product_names`."""
    users: tuple[str, ...] = ()
    """Names of the users whose log rows the instance is built from, if the data names them."""
    treatments: dict[Treatment, TreatmentOutcome] = Field(default_factory=dict)
