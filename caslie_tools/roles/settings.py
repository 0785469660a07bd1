"""The settings of each role that do not depend on where its model runs.

Each backend combines them with its own: ``EndpointCaptionerSettings`` is a :class:`CaptionerSettings` on a server,
``TransformersCaptionerSettings`` is one in this process.
"""

from typing import Any, Final, Literal, TypeAlias

from pydantic import Field

from caslie_tools.domain import FrozenModel
from caslie_tools.tasks.layouts import Layout

Decoding: TypeAlias = Literal["constrained", "sampled"]
"""How a predictor answers a task with a closed set of answers: with the most likely answer, or with generated text."""

NAME_PATTERN: Final = r"^[^-\s]"
"""A name that a command line accepts as a value: not empty, and not an option."""


class ModelSettings(FrozenModel):
    """The model of a role."""

    model: str = Field(pattern=NAME_PATTERN)
    """The model's name."""


class CaptionerSettings(ModelSettings):
    """A vision-language model that captions (EC3)."""

    max_side: int = Field(default=1024, ge=28)
    """Longest side, in pixels, of the image that the model gets. Smaller images are not enlarged."""
    max_tokens: int = Field(default=128, ge=1)
    """Most tokens of a caption."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Sampling temperature; 0 always takes the most likely token."""


def _default_name(data: dict[str, Any]) -> str:
    return str(data.get("model") or "judge")


class JudgeSettings(ModelSettings):
    """A model that votes (CQE)."""

    name: str = Field(default_factory=_default_name, min_length=1)
    """The judge's name in votes and traces, unique in a jury; by default the model's name."""
    sees_image: bool = False
    """Whether the judge gets the image as well, and votes on whether the caption is true to it. Otherwise it votes on
    whether the caption helps."""
    system: str = ""
    """A system message before the prompt. Empty for none."""
    max_side: int = Field(default=1024, ge=28)
    """Longest side, in pixels, of the image that the model gets. Smaller images are not enlarged."""


class ClaimCheckerSettings(JudgeSettings):
    """A vision-language model that checks each claim of a caption. False claims are removed before the jury votes."""

    sees_image: Literal[True] = True
    """It always gets the image."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """The minimum probability of a claim that is kept."""


class PredictorSettings(ModelSettings):
    """A model that answers (uniM3).

    The defaults of ``max_tokens``, ``temperature`` and ``top_p`` are the paper's (implementation details).
    """

    prompt: Literal["completion", "chat"] = "completion"
    """``completion``: raw text in ``layout``, for tuned models. ``chat``: a message, for any instruct model."""
    layout: Layout = "alpaca"
    """The layout of the raw text; not used with ``prompt = "chat"``."""
    decoding: Decoding = "constrained"
    """How a task with a closed set of answers is answered. ``constrained``: with the most likely of them, and the
    probability of each. ``sampled``: with generated text, as the reference does. Text that is none of them is an
    invalid answer."""
    max_tokens: int = Field(default=100, ge=1)
    """Most tokens of generated text."""
    temperature: float = Field(default=0.15, ge=0, le=2)
    """Sampling temperature of generated text; 0 always takes the most likely token."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Samples from the most likely tokens that together have this probability."""


class VisionPredictorSettings(ModelSettings):
    """A model that answers from the images themselves, as a baseline of an evaluation."""

    max_side: int = Field(default=512, ge=28)
    """Longest side, in pixels, of the images that the model gets. Smaller images are not enlarged."""
    max_images: int = Field(default=2, ge=1)
    """Most images of one instance. An instance with more is left out."""
    max_tokens: int = Field(default=100, ge=1)
    """Most tokens of an answer to an open question."""


class EmbeddingsSettings(ModelSettings):
    """A model that embeds texts, to search products and to find captions made for a similar question."""

    batch_size: int = Field(default=64, ge=1)
    """Texts per model call."""
