"""The roles that a model can play. Each role is a LangChain ``Runnable``.

Any runnable with the right input and output works. ``ModelCaptioner``, ``ModelJudge`` and ``ModelPredictor`` run a role
on any language model; :mod:`caslie_tools.backends.embedded` has small models that run on a laptop. A role's ``name``
(``Runnable.name``) is its identity. A captioner's name is part of every caption's key: two captioners that write
different captions need different names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from langchain_core.runnables import Runnable

from caslie_tools.domain import Answer, CaptionDraft, Evidence, Prediction, QueryContext, Vote
from caslie_tools.images.lazy import LazyImage
from caslie_tools.images.loading import LoadedImage
from caslie_tools.tasks import FusedInstance, Instance
from caslie_tools.tasks.instances import WireFormat


@dataclass(frozen=True, kw_only=True)
class CaptionRequest:
    """The input of a captioner: an image and the context to caption it for."""

    image: LoadedImage
    context: QueryContext
    product: str | None = None
    """Id of the catalogue product that the image belongs to. A captioner that searches similar images leaves it out."""


@dataclass(frozen=True, kw_only=True)
class KnownAnswer:
    """The answer of a predictor without captions, if it is known before a caption is judged."""

    predictor: "Predictor"
    prediction: Prediction


@dataclass(frozen=True, kw_only=True)
class JudgeRequest:
    """The input of a judge: a caption and the context in which it should help."""

    context: QueryContext
    caption: str
    evidence: tuple[Evidence, ...] = ()
    """What the captioner recognised in the image. Most captioners report no evidence."""
    instance: Instance | None = None
    """The instance that the caption should help with, with the caption's image as its only image. ``None`` if the
    caption is judged without an instance: then a judge knows the context only."""
    image: LazyImage | None = None
    """The image, for a judge that checks the caption against it. It is loaded once for the whole jury."""
    known_answer: KnownAnswer | None = None
    """For a judge that compares answers: with the same predictor, it need not ask again."""
    wire_format: WireFormat = "corrected"
    """The form of the predictor's text, for a judge that compares answers."""


@dataclass(frozen=True, kw_only=True)
class VisionRequest:
    """The input of a vision predictor: an instance without captions, and its images."""

    instance: FusedInstance
    images: tuple[tuple[str, LoadedImage], ...]
    """Each image, with the name of its place, such as ``product 1``."""


def reported_signals(model: Runnable[Any, Any]) -> tuple[str, ...]:
    """Returns the names of the numbers that a captioner or a judge reports beside its answer.

    A model names them in its attribute ``signals``: a captioner the kinds of its evidence, a judge the signals of its
    votes. A learned gate that needs a signal is refused if no model names it.
    """
    return tuple(getattr(model, "signals", ()))


Captioner: TypeAlias = Runnable[CaptionRequest, CaptionDraft]
"""Returns a caption for one image. An empty text means that the model found nothing to describe."""

Judge: TypeAlias = Runnable[JudgeRequest, Vote]
"""Votes on one caption."""

Predictor: TypeAlias = Runnable[FusedInstance, Answer]
"""Answers a fused instance."""

VisionPredictor: TypeAlias = Runnable[VisionRequest, Answer]
"""Answers an instance from its text and its images. Only an evaluation uses it, as a baseline. It may have an attribute
``max_images``, the most images that it accepts."""


class ProductFinder(Protocol):
    """Finds the products that a question selects by their fields, which a search by similarity cannot do."""

    def find(self, question: str, where: Mapping[str, Any] | str | None, limit: int) -> list[str]:
        """Returns the ids of products that match the filter and fit the question, the best first.

        The result is empty if the question does not select products by their fields.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of all roles: of the modules EC3, CQE and uniM3."""

    captioners: Sequence[Captioner]
    """In order of preference: if a captioner fails, the next one is tried."""
    judges: Sequence[Judge]
    """The jury, in the order in which the judges are asked."""
    predictor: Predictor
    text_tokens: int | None = None
    """Most tokens of text that every captioner and judge takes in one prompt. Longer texts are cut, and a response says
    so. ``None``: nothing is cut."""
    decider: str | None = None
    """The name of the first judge, if that judge decides alone wherever it does not abstain: for example a
    :class:`~caslie_tools.roles.utility.UtilityJudge`. The rest of the jury decides where it abstains."""
    claim_judge: Judge | None = None
    """A judge that sees the image and checks each claim of a caption: false claims are removed before the jury votes.
    ``None``: claims are not checked."""
    claim_threshold: float = 0.5
    """The minimum probability of a claim that is kept."""
    vision_predictor: VisionPredictor | None = None
    """The baseline of an evaluation that answers from the images themselves. ``None`` if there is none."""
    finder: ProductFinder | None = None
    """Finds products for questions such as "which jacket is the cheapest?". They come before those of the search by
    similarity. ``None``: the search alone finds products."""
