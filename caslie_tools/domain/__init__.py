"""The data model: products, images, captions, votes and predictions.

All types are plain data, frozen and serialisable as JSON, so that they can be sent to another process, stored in a
checkpoint or returned by a tool.
"""

from caslie_tools.domain.base import FrozenModel, Probability, ProgressCallback
from caslie_tools.domain.captions import (
    GENERAL_TASK,
    Caption,
    CaptionDraft,
    Evidence,
    EvidenceKind,
    QueryContext,
    caption_key,
)
from caslie_tools.domain.decisions import CheckedClaim, EffectEstimate, GateDecision, JudgeFailure, Verdict, Vote
from caslie_tools.domain.images import WITH_LOCATIONS, ImageRef
from caslie_tools.domain.predictions import Answer, Citation, Prediction
from caslie_tools.domain.products import AttributeValue, Product

__all__ = [
    "GENERAL_TASK",
    "WITH_LOCATIONS",
    "Answer",
    "AttributeValue",
    "Caption",
    "CaptionDraft",
    "CheckedClaim",
    "Citation",
    "EffectEstimate",
    "Evidence",
    "EvidenceKind",
    "FrozenModel",
    "GateDecision",
    "ImageRef",
    "JudgeFailure",
    "Prediction",
    "Probability",
    "Product",
    "ProgressCallback",
    "QueryContext",
    "Verdict",
    "Vote",
    "caption_key",
]
