"""The roles a model can take, each behind LangChain's own ``Runnable``.

Any runnable with the right input and output works. ``ModelCaptioner``, ``ModelJudge`` and ``ModelPredictor`` run a role
on any language model; :mod:`caslie_tools.backends.embedded` has small models that run on a laptop. A role's ``name``
(``Runnable.name``) is its identity. A captioner's name is part of every caption's key: two captioners that write
different captions need different names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from langchain_core.runnables import Runnable

from caslie_tools.domain import Answer, CaptionDraft, Evidence, QueryContext, Vote
from caslie_tools.images.lazy import LazyImage
from caslie_tools.images.loading import LoadedImage
from caslie_tools.tasks import FusedInstance


@dataclass(frozen=True, kw_only=True)
class CaptionRequest:
    """What EC3 asks a captioner."""

    image: LoadedImage
    context: QueryContext
    product: str | None = None
    """Id of the catalogue product the image belongs to, so that it is not found to resemble itself."""


@dataclass(frozen=True, kw_only=True)
class JudgeRequest:
    """What CQE asks a judge: does this caption help?"""

    context: QueryContext
    caption: str
    evidence: tuple[Evidence, ...] = ()
    """What the captioner recognised in the image. Most captioners report nothing here."""
    image: LazyImage | None = None
    """The image, for a judge that checks the caption against it. It is loaded once for the whole jury."""


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
