"""The answer to one request, with everything that led to it."""

from typing import Any

from caslie_tools.domain import FrozenModel, Prediction, Product
from caslie_tools.pipeline.pipeline import ImageResult
from caslie_tools.tasks import Instance
from caslie_tools.tasks.product_qa import catalogue_products


class Timing(FrozenModel):
    """How long one step took."""

    step: str
    milliseconds: float
    item: str = ""
    """Which image, for steps that run once per image."""


class Response(FrozenModel):
    """An answer with everything that led to it."""

    prediction: Prediction
    instance: Instance
    image_results: tuple[ImageResult, ...] = ()
    """What became of every image, in the instance's order."""
    warnings: tuple[str, ...] = ()
    timings: tuple[Timing, ...] = ()
    total_milliseconds: float = 0.0

    @property
    def answer(self) -> str:
        """The answer in words, or the label."""
        return self.prediction.text if self.prediction.label is None else self.prediction.label

    @property
    def products(self) -> tuple[Product, ...]:
        """The products that were looked at, by id and text, for an open question."""
        return catalogue_products(self.instance)

    def to_json(self) -> dict[str, Any]:
        """Returns what programs need of it, as plain JSON values; times in milliseconds, summed over images."""
        timings: dict[str, float] = {}
        for timing in self.timings:
            timings[timing.step] = round(timings.get(timing.step, 0.0) + timing.milliseconds, 3)
        prediction = self.prediction
        return {
            "answer": self.answer,
            "answerable": prediction.answerable,
            "task": prediction.task,
            "label": prediction.label,
            "probabilities": prediction.probabilities,
            "products": [{"id": product.id, "title": product.title} for product in self.products],
            "captions": [_caption(result) for result in self.image_results],
            "citations": [citation.model_dump(mode="json") for citation in prediction.citations],
            "fused": prediction.fused,
            "timings_ms": timings | {"total": round(self.total_milliseconds, 3)},
            "warnings": list(self.warnings),
        }


def _caption(result: ImageResult) -> dict[str, Any]:
    caption, decision = result.caption, result.decision
    return {
        "product": result.image.product,
        "image": str(result.image.ref),
        "text": caption.text if caption else None,
        "source": caption.source if caption else None,
        "captioner": caption.captioner if caption else None,
        "kept": result.kept,
        "margin": decision.margin if decision else None,
        "votes": [vote.model_dump(mode="json") for vote in decision.votes] if decision else [],
        "unasked": decision.unasked if decision else 0,
        "error": result.error or None,
    }
