"""uniM3 without a language model: one small strategy per kind of decision, applied to the fused text.

The strategies compare sentence embeddings, exact words and numbers, and the evidence of captions. The definition of a
task states the kind of decision that its answers make (:data:`~caslie_tools.tasks.Decision`).
"""

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.backends.embedded.option_scoring import OptionScorer, ProductEvidence, softmax
from caslie_tools.backends.embedded.product_similarity import ProductSimilarity
from caslie_tools.backends.embedded.question_answering import QuestionAnswerer
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.backends.embedded.words import content_words, coverage
from caslie_tools.domain import Answer, Caption
from caslie_tools.exceptions import ModelError
from caslie_tools.tasks import Decision, FusedInstance, get_task
from caslie_tools.tasks.answers import option_label, option_text

Strategy: TypeAlias = Callable[["EmbeddedPredictor", FusedInstance], list[float]]
"""Returns one probability per label, in the order of the labels."""

_RELEVANCE_ANCHORS: Final = (0.8, 0.55, 0.4, 0.15)
"""Typical similarity of a query and a product that is exact, a substitute, a complement or irrelevant."""
_VIEWED_TOGETHER: Final = 0.1
"""Score of "viewed together", between 0, two products that are certainly alike or different, and 1."""
_ANCHOR_WIDTH: Final = 0.15
_REVIEWS: Final = (
    "I love it, it is excellent, perfect, the best I ever bought.",
    "It is good, I like it, it works well.",
    "It is okay, average, neither good nor bad.",
    "It is not good, I am disappointed, it has problems.",
    "I hate it, it is terrible, broken, useless, a waste of money.",
)
"""A typical review of each sentiment, from very positive to very negative."""
_RECENCY: Final = 0.7
"""Weight of a purchase relative to the next purchase."""


class EmbeddedPredictor(AsyncRunnable[FusedInstance, Answer]):
    """Chooses the label of a closed question, and answers an open question with quotes.

    Args:
        embeddings: Compares sentences.
    """

    name = "embedded-predictor-3"

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings
        self.options = OptionScorer(embeddings)
        self.similarity = ProductSimilarity(embeddings)
        self.questions = QuestionAnswerer(embeddings)

    async def ainvoke(self, input: FusedInstance, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        """Answers one instance in a worker thread."""
        return await asyncio.to_thread(self._predict, input)

    def _predict(self, instance: FusedInstance) -> Answer:
        task = get_task(instance.task)
        labels = task.labels(instance)
        if not labels:
            return self.questions.answer(instance)
        values = STRATEGIES[task.decision](self, instance)
        if len(values) != len(labels):
            raise ModelError(
                f"{task.name}: the embedded predictor decides {task.decision!r} between {len(values)} answers, and "
                f"the task has {len(labels)}; define the task with another decision"
            )
        probabilities = dict(zip(labels, (float(min(1.0, max(0.0, value))) for value in values), strict=True))
        return Answer(text=max(labels, key=lambda label: probabilities[label]), probabilities=probabilities)

    def cosine(self, first: str, second: str) -> float:
        """Returns the cosine similarity of two texts, or 0 if a text is empty."""
        if not first.strip() or not second.strip():
            return 0.0
        vectors = self.embeddings.encode([first, second]).astype(np.float64)
        return float(vectors[0] @ vectors[1])

    def relevance(self, query: str, text: str) -> float:
        """Returns the relevance of a text to a query, by meaning and by words. The range is about 0 to 1."""
        return 0.5 * max(0.0, self.cosine(query, text)) + 0.5 * coverage(content_words(query), text)


def _score_choice(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Scores options by the text of the input and the evidence of its captions.

    Yes and no are scored by the support for the instruction.
    """
    if get_task(instance.task).answers == "yes_no":
        return _score_answerability(predictor, instance)
    options = [option_text(option) for option in instance.options]
    captions = [fused.caption for fused in instance.captions]
    return predictor.options.probabilities(
        ProductEvidence.from_captions(" ".join(own_texts(instance)), captions), options
    )


def _score_next_item(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Scores candidates by their similarity to earlier purchases. Later purchases have a higher weight."""
    history = instance.input if isinstance(instance.input, list) else []
    bought = np.stack([
        predictor.similarity.vector(*_item(instance, f"purchase {number}", str(item)))
        for number, item in enumerate(history, start=1)
    ])  # fmt: skip
    offered = np.stack([
        predictor.similarity.vector(*_item(instance, f"candidate {option_label(option)}", option_text(option)))
        for option in instance.options
    ])  # fmt: skip
    weights = _RECENCY ** np.arange(len(history))[::-1]
    return softmax((offered @ bought.T) @ (weights / weights.sum()) / 0.07)


def _score_relevance(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Places the similarity of query and product on a scale from exact to irrelevant.

    If neither the title nor a caption says what the product is, the answers are equally likely.
    """
    query = str(instance.input.get("query", "")) if isinstance(instance.input, dict) else ""
    title = " ".join(text for text in own_texts(instance) if text != query)
    known = predictor.similarity.informativeness.of(title)
    captions = [_content(fused.caption) for fused in instance.captions]
    text = " ".join([*([title] if known > 0.5 or not captions else []), *captions])
    on_scale = _on_scale(predictor.relevance(query, text), _RELEVANCE_ANCHORS)
    certainty = 1.0 if any(captions) else known
    return [certainty * value + (1 - certainty) / len(on_scale) for value in on_scale]


def _score_substitution(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Scores a substitute: a product that is similar to the query without matching it exactly."""
    exact, substitute, *others = _score_relevance(predictor, instance)
    yes = substitute / (substitute + max(exact, *others))
    return [yes, 1 - yes]


def _score_relation(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Scores two products that are alike as similar, and two that differ as bought together."""
    titles, captions = zip(*(_product(instance, side) for side in ("product 1", "product 2")), strict=True)
    log_odds = predictor.similarity.log_odds(titles, captions)
    # If nothing is known, the three answers are equally likely.
    certainty = abs(math.tanh(log_odds / 2))
    return softmax([-log_odds, _VIEWED_TOGETHER * (1 - certainty) if log_odds else 0.0, log_odds])


def _score_sentiment(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Compares a review with a typical review of each sentiment."""
    review = _fields(instance).get("review", "")
    typical = predictor.embeddings.encode(_REVIEWS).astype(np.float64)
    vector = predictor.embeddings.encode([review])[0].astype(np.float64)
    return softmax((typical @ vector) / 0.07)


def _score_answerability(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Scores whether a sentence of another field, such as a document or a caption, answers the question.

    If the input has no question, the instruction is used as the question.
    """
    fields = _fields(instance)
    question = fields.pop("question", "") or instance.instruction
    best = max((predictor.questions.support(question, text) for text in fields.values()), default=0.0)
    yes = 1 / (1 + math.exp(-12 * (best - 0.45)))
    return [yes, 1 - yes]


STRATEGIES: Final[Mapping[Decision, Strategy]] = {
    "choice": _score_choice,
    "answerability": _score_answerability,
    "relevance": _score_relevance,
    "substitution": _score_substitution,
    "relation": _score_relation,
    "sentiment": _score_sentiment,
    "next_item": _score_next_item,
}
"""The strategy for each kind of decision."""


def _on_scale(value: float, anchors: Sequence[float]) -> list[float]:
    return softmax([-(((value - anchor) / _ANCHOR_WIDTH) ** 2) for anchor in anchors])


def _fields(instance: FusedInstance) -> dict[str, str]:
    if not isinstance(instance.input, dict):
        return {"input": json.dumps(instance.input, ensure_ascii=False)}
    texts = {}
    for name, value in instance.input.items():
        if isinstance(value, list):
            texts[name] = " ".join(map(str, value))
        elif value is not None:
            texts[name] = str(value)
    return texts


def own_texts(instance: FusedInstance) -> list[str]:
    """Returns the texts of an instance's input without the captions in them."""
    values = list(instance.input.values()) if isinstance(instance.input, dict) else instance.input
    texts = [" ".join(map(str, value)) if isinstance(value, list) else str(value) for value in values if value]
    captions = [fused.caption.text for fused in instance.captions]
    fused = {" ".join(dict.fromkeys(captions)), *captions}
    return [text for text in texts if text not in fused]


def _product(instance: FusedInstance, place: str) -> tuple[str, list[Caption]]:
    """Returns the title and the captions of the product at a place whose name is the title's field."""
    title = instance.input.get(place) if isinstance(instance.input, dict) else ""
    return str(title or ""), [fused.caption for fused in instance.captions if fused.place == place]


def _item(instance: FusedInstance, place: str, text: str) -> tuple[str, list[Caption]]:
    """Returns the title and the captions of an item of a list. Its captions are appended to its text."""
    captions = [fused.caption for fused in instance.captions if fused.place == place]
    appended = " ".join(dict.fromkeys(caption.text for caption in captions))
    return text.removesuffix(appended).strip(), captions


def _content(caption: Caption) -> str:
    """Returns what a caption says, without the words that every caption of the embedded captioner has."""
    return " ".join(item.text for item in caption.evidence) or caption.text
