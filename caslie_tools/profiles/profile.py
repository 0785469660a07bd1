"""The type of a profile: the models of all roles, and the embeddings of the store."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from langchain_core.embeddings import Embeddings

from caslie_tools.domain import FrozenModel
from caslie_tools.images.embeddings import ImageEmbeddings
from caslie_tools.roles.interfaces import Models
from caslie_tools.settings import PipelineDefaults
from caslie_tools.store import CaptionStore


class TokenPrices(FrozenModel):
    """Prices of one million tokens, in any currency."""

    input: float
    output: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Returns the price of some tokens."""
        return (self.input * prompt_tokens + self.output * completion_tokens) / 1e6


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Every model that the pipeline needs: the two embedding models of the store, and the models of all roles."""

    name: str
    embeddings: Embeddings
    models: Callable[[CaptionStore], Models]
    """Returns the models for an open store. They get the store because a captioner may search it."""
    image_embeddings: ImageEmbeddings | None = None
    """Makes the vectors for search by image. ``None``: images cannot be searched."""
    check: Callable[[], Awaitable[None]] | None = None
    """Checks within a few seconds, before a start, that the models can be reached. Raises a ``ModelError`` if not."""
    pipeline: PipelineDefaults = field(default_factory=PipelineDefaults)
    """Settings that suit these models, for users who set none."""
    gate: Path | None = None
    """A gate tuned for these judges, for users who set none: see :class:`caslie_tools.settings.Settings`."""
    text_first: Path | None = None
    """Text-first thresholds calibrated for this predictor, for users who set none: see
    :class:`caslie_tools.settings.Settings`."""
    prices: TokenPrices | None = None
    """What the models' tokens cost, to show the cost of an answer."""
    notes: Sequence[str] = field(default=())
    """Facts about these models for users, such as their limits."""
