"""The settings of a role that do not depend on where its model runs."""

from typing import Any, Final, Literal

from pydantic import Field

from caslie_tools.domain import FrozenModel
from caslie_tools.tasks.fusion import WireFormat
from caslie_tools.tasks.layouts import Layout

A_WORD: Final = r"^[^-\s]"
"""What a command line takes for a name: not empty, and no option."""


class ModelSettings(FrozenModel):
    """A role's model."""

    model: str = Field(pattern=A_WORD)
    """Which one it is."""


class CaptioningSettings(ModelSettings):
    """A vision-language model that captions (EC3)."""

    max_side: int = Field(default=1024, ge=28)
    """Longest side, in pixels, an image is shown with; it is never enlarged."""
    max_tokens: int = Field(default=128, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=2)


def _name_of(data: dict[str, Any]) -> str:
    return str(data.get("model") or "judge")


class JudgingSettings(ModelSettings):
    """A model that votes (CQE)."""

    name: str = Field(default_factory=_name_of, min_length=1)
    """Its name in votes and traces; by default the model's. Unique in a jury."""
    sees_image: bool = False
    """Vote on whether the caption is true to the image, which is shown as well, and not only on whether it helps."""
    max_side: int = Field(default=1024, ge=28)
    """Longest side, in pixels, the image is shown with, if it is."""


class PredictingSettings(ModelSettings):
    """A model that answers (uniM3). The defaults are the reference decoding (paper, implementation details)."""

    prompt: Literal["completion", "chat"] = "completion"
    """``completion``: raw text in ``layout``, for tuned models; ``chat``: a message, for any instruct model."""
    layout: Layout = "alpaca"
    wire: WireFormat = "paper"
    """``paper``: what the published weights were tuned on."""
    max_tokens: int = Field(default=100, ge=1)
    temperature: float = Field(default=0.15, ge=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)


class EmbeddingSettings(ModelSettings):
    """A model that embeds texts, for search and for finding captions made for a similar question."""

    batch_size: int = Field(default=64, ge=1)
    """Texts at once."""
