"""Models that record the duration of their calls, and what each judge's calls took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.utils import Input, Output

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.roles.interfaces import Models, reported_signals
from caslie_tools.roles.usage import Usage, record_seconds, track_usage

_by_name: ContextVar[dict[str, Usage] | None] = ContextVar("_by_name", default=None)


@contextmanager
def track_usage_by_name() -> Iterator[dict[str, Usage]]:
    """Records the usage of each timed model that is called in this block, by the model's name."""
    usage: dict[str, Usage] = {}
    token = _by_name.set(usage)
    try:
        yield usage
    finally:
        _by_name.reset(token)


def timed_pipeline(pipeline: Pipeline) -> Pipeline:
    """Returns an equal pipeline whose models are timed and whose juries stop early."""
    models = Models(
        captioners=[_Timed(captioner) for captioner in pipeline.ec3.captioners],
        judges=[_Timed(judge) for judge in pipeline.cqe.judges],
        predictor=_Timed(pipeline.unim3.predictor),
        text_tokens=pipeline.text_tokens,
        decider=pipeline.cqe.decider,
        claim_judge=None if pipeline.claims is None else _Timed(pipeline.claims.judge),
        claim_threshold=0.5 if pipeline.claims is None else pipeline.claims.threshold,
        vision_predictor=None if pipeline.vision_predictor is None else _Timed(pipeline.vision_predictor),
    )
    settings = pipeline.settings.model_copy(update={"early_stop": True})
    return Pipeline(pipeline.store, models, settings)


class _Timed(AsyncRunnable[Input, Output]):
    """Records the duration of a model's calls. The time spent waiting for a free slot is not included."""

    def __init__(self, model: Runnable[Input, Output]) -> None:
        self.model = model
        self.name = model.get_name()
        self.signals = reported_signals(model)

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Calls the model and records the duration of the call."""
        started = time.perf_counter()
        with track_usage() as usage:
            try:
                return await self.model.ainvoke(input, config, **kwargs)
            finally:
                record_seconds(time.perf_counter() - started)
                if (by_name := _by_name.get()) is not None:
                    by_name[self.get_name()] = usage
