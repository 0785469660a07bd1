"""The roles a model can take, each behind LangChain's own ``Runnable``.

Any runnable of the right input and output will do; :mod:`caslie_tools.chat` makes one of any LangChain chat model,
:mod:`caslie_tools.embedded` brings a set that runs on a laptop. A role's ``name`` (``Runnable.name``) is its identity:
it is part of a caption's key, so two captioners that caption differently must be named differently.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable

from caslie_tools.domain import Answer, CaptionDraft, Evidence, ImageRef, Model, QueryContext, Vote
from caslie_tools.fusion import WireFormat
from caslie_tools.images import LoadedImage
from caslie_tools.tasks import FusedInstance

if TYPE_CHECKING:
    from caslie_tools.store import CaptionStore


@dataclass(frozen=True, kw_only=True)
class CaptionRequest:
    """What EC3 asks a captioner."""

    image: LoadedImage
    context: QueryContext
    product: str | None = None
    """Id of the catalogue product the image belongs to, so that it is not found to resemble itself."""


class JudgeRequest(Model):
    """What CQE asks a judge: does this caption help?"""

    context: QueryContext
    caption: str
    evidence: tuple[Evidence, ...] = ()
    """What the captioner saw, where it can tell."""
    image: ImageRef | None = None
    """The image itself, for a judge that looks whether the caption is true to it."""


Captioner: TypeAlias = Runnable[CaptionRequest, CaptionDraft]
"""Answers one image's caption; an empty text means it has nothing to say."""

Judge: TypeAlias = Runnable[JudgeRequest, Vote]
"""Votes on one caption."""

Predictor: TypeAlias = Runnable[FusedInstance, Answer]
"""Answers a fused instance."""


@runtime_checkable
class PictureEmbeddings(Protocol):
    """Turns pictures into vectors in which similar pictures are near. LangChain has no such interface."""

    @property
    def identity(self) -> str:
        """Names the model: vectors of two identities are never compared."""
        ...

    def embed_pictures(self, images: Sequence[LoadedImage]) -> list[list[float]]:
        """Returns one unit vector per image, all of the same length."""
        ...


@dataclass(frozen=True, kw_only=True)
class Models:
    """One model per role of the three modules EC3, CQE and uniM3."""

    captioners: Sequence[Captioner]
    """In order of preference: the next one is tried when one fails."""
    judges: Sequence[Judge]
    """The jury, in the order it is asked."""
    predictor: Predictor


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything that has to be chosen to run: the store's two embedding models, and the models of the modules.

    The store comes first, because a captioner may look things up in it.
    """

    name: str
    embeddings: Embeddings
    models: Callable[["CaptionStore"], Models]
    """Builds the models for an open store."""
    pictures: PictureEmbeddings | None = None
    """``None``: pictures are not searched by likeness."""
    check: Callable[[], Awaitable[None]] | None = None
    """Finds out whether the models are there, in the seconds that a start can afford; fails with a ``ModelError``."""
    mode: WireFormat | None = None
    """The mode these models need, where nobody sets one: see :class:`caslie_tools.settings.Settings`."""
    gate: Path | None = None
    """A gate tuned for these judges, where nobody sets one: see :class:`caslie_tools.settings.Settings`."""
    notes: Sequence[str] = field(default=())
    """What a user should know of these models, such as their limits."""
