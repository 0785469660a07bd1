"""uniM3, the modality-unified predictor: answers a task from text only (paper, section uniM3)."""

import asyncio
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.utils import Input

from caslie_tools._concurrency import AsyncRunnable, ConcurrencyLimit
from caslie_tools.domain import Answer, Prediction
from caslie_tools.exceptions import CaslieError, ModelError
from caslie_tools.roles.interfaces import Predictor
from caslie_tools.tasks import FusedInstance, Task, get_task
from caslie_tools.tasks.fusion import fused_text


class UniM3(AsyncRunnable[FusedInstance, Prediction]):
    """Answers a fused instance and checks the answer against the task.

    An answer outside the task's closed set is kept in ``Prediction.text``, and ``label`` is ``None``: it counts as a
    wrong answer and is not dropped.

    Args:
        predictor: The model.
        max_concurrency: Number of calls at the same time.
        timeout_seconds: Time limit for one answer.

    Raises:
        ModelError: If the predictor failed or exceeded its time limit.
    """

    def __init__(self, predictor: Predictor, *, max_concurrency: int = 8, timeout_seconds: float = 60.0) -> None:
        self.predictor = predictor
        self.timeout_seconds = timeout_seconds
        self._limit = ConcurrencyLimit(max_concurrency)

    async def ainvoke(
        self,
        input: FusedInstance,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Prediction:
        """Answers one instance."""
        async with self._limit():
            return await ask_predictor(
                self.predictor, input, input, timeout_seconds=self.timeout_seconds, config=config
            )


async def ask_predictor(
    predictor: Runnable[Input, Answer],
    request: Input,
    instance: FusedInstance,
    *,
    timeout_seconds: float,
    config: RunnableConfig | None = None,
) -> Prediction:
    """Asks a predictor for an answer, and checks it against the task.

    Args:
        predictor: The model.
        request: The input of the model.
        instance: The instance that it answers.
        timeout_seconds: Time limit for the answer.
        config: Passed on to the predictor.

    Raises:
        UnknownTaskError: If the task is unknown. The predictor is not asked.
        ModelError: If the predictor failed or exceeded its time limit.
    """
    task = get_task(instance.task)
    try:
        async with asyncio.timeout(timeout_seconds):
            answer = await predictor.ainvoke(request, config)
        return _prediction(task, instance, answer)
    except CaslieError:
        raise
    except Exception as error:
        raise ModelError(
            f"the predictor {predictor.get_name()} failed ({type(error).__name__}); check its endpoint and settings"
        ) from error


def _prediction(task: Task, instance: FusedInstance, answer: Answer) -> Prediction:
    labels = task.labels(instance)
    probabilities = answer.probabilities
    if probabilities is not None:
        probabilities = {label: probabilities.get(label, 0.0) for label in labels}
    # Only an open question can be unanswerable: the answer to any other task is a label, or it is invalid.
    answerable = None if labels else answer.answerable
    if answerable is None and not labels:
        answerable = bool(answer.text.strip())
    return Prediction(
        task=task.name,
        label=task.parse(answer.text, instance),
        text=answer.text,
        probabilities=probabilities,
        citations=answer.citations,
        answerable=answerable,
        captions=tuple(fused.caption for fused in instance.captions),
        fused=fused_text(instance),
    )
