"""What a profile is: the models that take every role, and the store's embeddings."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from langchain_core.embeddings import Embeddings

from caslie_tools.images.embeddings import ImageEmbeddings
from caslie_tools.roles.interfaces import Models
from caslie_tools.settings import PipelineDefaults
from caslie_tools.store import CaptionStore


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything that has to be chosen to run: the store's two embedding models, and the models of the modules.

    The store comes first, because a captioner may look things up in it.
    """

    name: str
    embeddings: Embeddings
    models: Callable[[CaptionStore], Models]
    """Builds the models for an open store."""
    pictures: ImageEmbeddings | None = None
    """``None``: pictures are not searched by likeness."""
    check: Callable[[], Awaitable[None]] | None = None
    """Finds out whether the models are there, in the seconds that a start can afford; fails with a ``ModelError``."""
    pipeline: PipelineDefaults = field(default_factory=PipelineDefaults)
    """Settings that suit these models, for users who set none."""
    gate: Path | None = None
    """A gate tuned for these judges, for users who set none: see :class:`caslie_tools.settings.Settings`."""
    notes: Sequence[str] = field(default=())
    """What a user should know of these models, such as their limits."""
