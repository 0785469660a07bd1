"""Answers and predictions, with their sources."""

from caslie_tools.domain.base import FrozenModel, Probability
from caslie_tools.domain.captions import Caption


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
