"""The response to one request: the answer and the results of all steps."""

from typing import Any

from caslie_tools.domain import FrozenModel, Prediction, Product
from caslie_tools.pipeline.pipeline import ImageResult
from caslie_tools.pipeline.text_first import TextAnswer
from caslie_tools.tasks import Instance
from caslie_tools.tasks.answers import option_label
from caslie_tools.tasks.product_qa import catalogue_products


class Timing(FrozenModel):
    """The duration of one step."""

    step: str
    milliseconds: float
    item: str = ""
    """The image, for a step that runs once per image."""


class TokenUsage(FrozenModel):
    """The model calls of one request. Models that count no tokens, such as the embedded ones, are left out."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Tokens of the prompts that the server had in its prefix cache, if it reports them."""
    cost: float | None = None
    """In the currency of the profile's prices. ``None`` without prices."""


class Response(FrozenModel):
    """The answer to one request and the results of all steps."""

    prediction: Prediction
    instance: Instance
    text_answer: TextAnswer | None = None
    """The answer from text alone, if it was tried first. If it was enough, no picture was looked at."""
    image_results: tuple[ImageResult, ...] = ()
    """The result for each image, in the order of the instance's images."""
    warnings: tuple[str, ...] = ()
    timings: tuple[Timing, ...] = ()
    total_milliseconds: float = 0.0
    usage: TokenUsage = TokenUsage()

    @property
    def answer(self) -> str:
        """The answer in words: the option, such as ``E: very negative``, or the text of the answer to an open question.

        ``prediction.label`` has the label alone.
        """
        label = self.prediction.label
        if label is None:
            return self.prediction.text
        return next((option for option in self.instance.options if option_label(option) == label), label)

    def __str__(self) -> str:
        """Returns the answer, and one line for each of its citations."""
        citations = [
            f"[{citation.product or 'the image'}, {citation.field}] {citation.quote}"
            for citation in self.prediction.citations
        ]
        return "\n".join([self.answer or "no answer", *citations])

    @property
    def products(self) -> tuple[Product, ...]:
        """The products of an open question, with id and title."""
        return catalogue_products(self.instance)

    def to_json(self) -> dict[str, Any]:
        """Returns the response as plain JSON values. Times are in milliseconds, summed over the images."""
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
            "text_first": None if self.text_answer is None else _text_answer(self.text_answer),
            "captions": [_caption(result) for result in self.image_results],
            "citations": [citation.model_dump(mode="json") for citation in prediction.citations],
            "fused": prediction.fused,
            "usage": self.usage.model_dump(mode="json"),
            "timings_ms": timings | {"total": round(self.total_milliseconds, 3)},
            "warnings": list(self.warnings),
        }


def _text_answer(answer: TextAnswer) -> dict[str, Any]:
    return {"enough": answer.is_enough, "confidence": answer.confidence, "threshold": answer.threshold}


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
        "skipped_judges": decision.skipped_judges if decision else 0,
        "claims": [claim.model_dump(mode="json") for claim in decision.claims] if decision else [],
        "error": result.error or None,
    }
