"""The roles a model can take, each behind LangChain's own ``Runnable``.

Any runnable with the right input and output works. :mod:`caslie_tools.roles.chat` wraps any LangChain chat model, and
:mod:`caslie_tools.backends.embedded` provides small models that run on a laptop. A role's ``name`` (``Runnable.name``)
is its identity. It is part of every caption's key: two captioners that write different captions need different names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from langchain_core.runnables import Runnable

from caslie_tools.domain import Answer, CaptionDraft, Evidence, FrozenModel, ImageRef, QueryContext, Vote
from caslie_tools.images.loading import LoadedImage
from caslie_tools.tasks import FusedInstance

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class CaptionRequest:
    """What EC3 asks a captioner."""

    image: LoadedImage
    context: QueryContext
    product: str | None = None
    """Id of the catalogue product the image belongs to, so that it is not found to resemble itself."""


class JudgeRequest(FrozenModel):
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


@dataclass(frozen=True, kw_only=True)
class Models:
    """One model per role of the three modules EC3, CQE and uniM3."""

    captioners: Sequence[Captioner]
    """In order of preference: the next one is tried when one fails."""
    judges: Sequence[Judge]
    """The jury, in the order it is asked."""
    predictor: Predictor
