"""uniM3 without a language model: one small strategy for each kind of decision, over the fused text.

The strategies compare sentences by meaning, use exact words and numbers, and use the evidence of captions. A task's
definition says what its answers decide (:data:`~caslie_tools.tasks.Decision`).
"""

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.backends.embedded.facts import content_words, coverage
from caslie_tools.backends.embedded.options import Clues, OptionScorer, softmax
from caslie_tools.backends.embedded.question_answering import QuestionAnswering
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.domain import Answer, Caption
from caslie_tools.exceptions import ModelError
from caslie_tools.tasks import Decision, FusedInstance, get_task
from caslie_tools.tasks.answers import option_text

Strategy: TypeAlias = Callable[["EmbeddedPredictor", FusedInstance], list[float]]
"""Returns one probability per label, in the order of the labels."""

_FIT_ANCHORS: Final = (0.8, 0.55, 0.4, 0.15)
"""How near a product is to a query when it is exact, a substitute, a complement, irrelevant."""
_RELATION_ANCHORS: Final = (0.3, 0.5, 0.75)
"""How near two products are when they are bought together, viewed together, similar."""
_ANCHOR_WIDTH: Final = 0.15
_MOODS: Final = (
    "I love it, it is excellent, perfect, the best I ever bought.",
    "It is good, I like it, it works well.",
    "It is okay, average, neither good nor bad.",
    "It is not good, I am disappointed, it has problems.",
    "I hate it, it is terrible, broken, useless, a waste of money.",
)
_RECENCY: Final = 0.7
"""What a past purchase counts, relative to the one after it."""


class EmbeddedPredictor(AsyncRunnable[FusedInstance, Answer]):
    """Solves the seven tasks of MMECInstruct and answers open product questions by quoting.

    Args:
        embeddings: Compares sentences.
    """

    name = "embedded-predictor-1"

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings
        self.options = OptionScorer(embeddings)
        self.questions = QuestionAnswering(embeddings)

    async def ainvoke(
        self,
        input: FusedInstance,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Answer:
        """Answers one instance, off the event loop."""
        return await asyncio.to_thread(self._predict, input)

    def _predict(self, instance: FusedInstance) -> Answer:
        task = get_task(instance.task)
        labels = task.labels(instance)
        if not labels:
            return self.questions.answer(instance)
        chances = STRATEGIES[task.decision](self, instance)
        if len(chances) != len(labels):
            raise ModelError(
                f"{task.name}: the embedded predictor decides {task.decision!r} between {len(chances)} answers, and "
                f"the task has {len(labels)}; define the task with another decision"
            )
        probabilities = dict(zip(labels, (float(min(1.0, max(0.0, chance))) for chance in chances), strict=True))
        return Answer(text=max(labels, key=lambda label: probabilities[label]), probabilities=probabilities)

    def cosine(self, one: str, other: str) -> float:
        """Returns the cosine of two texts' vectors; 0 if one is empty."""
        if not one.strip() or not other.strip():
            return 0.0
        first, second = self.embeddings.encode([one, other]).astype(np.float64)
        return float(first @ second)

    def nearness(self, wanted: str, text: str) -> float:
        """Returns how near a text is to what is wanted, by meaning and by words, about 0 to 1."""
        return 0.5 * max(0.0, self.cosine(wanted, text)) + 0.5 * coverage(content_words(wanted), text)


def _by_choice(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Chooses an option by the input's texts and the captions' evidence; yes or no by the instruction's support."""
    if get_task(instance.task).answers == "yes_no":
        return _by_support(predictor, instance)
    captions = _captions(instance)
    fused = " ".join(caption.text for caption in captions)
    # Captions take part by their evidence, with its scores, and must not count again by their words.
    said = [value for value in _fields(instance).values() if value != fused]
    options = [option_text(option) for option in instance.options]
    return predictor.options.probabilities(Clues.of(" ".join(said), captions), options)


def _by_history(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Chooses the candidate nearest to what was bought before, the latest the most."""
    history = [str(item) for item in instance.input] if isinstance(instance.input, list) else []
    bought = predictor.embeddings.encode(history).astype(np.float64)
    offered = predictor.embeddings.encode([option_text(option) for option in instance.options]).astype(np.float64)
    weights = _RECENCY ** np.arange(len(history))[::-1]
    return softmax((offered @ bought.T) @ (weights / weights.sum()) / 0.07)


def _by_fit(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Places the nearness of query and product on a scale from exact to irrelevant."""
    fields = _fields(instance)
    return _on_scale(predictor.nearness(fields.pop("query", ""), " ".join(fields.values())), _FIT_ANCHORS)


def _by_substitution(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """A substitute is near to the query, but not what it says."""
    exact, substitute, *others = _by_fit(predictor, instance)
    yes = substitute / (substitute + max(exact, *others))
    return [yes, 1 - yes]


def _by_relation(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Places the nearness of two products on a scale from bought together to similar."""
    fields = _fields(instance)
    sides = [" ".join(text for name, text in fields.items() if name.startswith(f"product {side}")) for side in (1, 2)]
    return _on_scale(predictor.cosine(*sides), _RELATION_ANCHORS)


def _by_mood(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Compares a review with sentences of each mood."""
    review = _fields(instance).get("review", "")
    moods = predictor.embeddings.encode(_MOODS).astype(np.float64)
    vector = predictor.embeddings.encode([review])[0].astype(np.float64)
    return softmax((moods @ vector) / 0.07)


def _by_support(predictor: EmbeddedPredictor, instance: FusedInstance) -> list[float]:
    """Decides whether a sentence of another field, such as a document or a caption, supports an answer to the question.

    An input without a question is asked the instruction.
    """
    fields = _fields(instance)
    question = fields.pop("question", "") or instance.instruction
    best = max((predictor.questions.support(question, text) for text in fields.values()), default=0.0)
    yes = 1 / (1 + math.exp(-12 * (best - 0.45)))
    return [yes, 1 - yes]


STRATEGIES: Final[Mapping[Decision, Strategy]] = {
    "choice": _by_choice,
    "answerability": _by_support,
    "relevance": _by_fit,
    "substitution": _by_substitution,
    "relation": _by_relation,
    "sentiment": _by_mood,
    "next_item": _by_history,
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


def _captions(instance: FusedInstance) -> list[Caption]:
    return [fused.caption for fused in instance.captions]
