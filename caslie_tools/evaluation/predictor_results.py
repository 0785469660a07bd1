"""The answer of a predictor to one instance of an evaluation, with its cost."""

from collections.abc import Coroutine
from typing import Any

from caslie_tools.domain import FrozenModel, Prediction
from caslie_tools.evaluation.outcomes import Cost
from caslie_tools.evaluation.selected_captions import cost_of
from caslie_tools.exceptions import InputError, ModelError
from caslie_tools.roles.availability import raise_if_unavailable
from caslie_tools.roles.usage import track_usage


class PredictorResult(FrozenModel):
    """An answer, or the reason why there is none."""

    prediction: Prediction | None = None
    cost: Cost = Cost()
    error: str = ""


async def result_of(answering: Coroutine[Any, Any, Prediction]) -> PredictorResult:
    """Waits for an answer and measures its cost. If the model fails on the instance, the result has the error.

    Raises:
        EndpointUnavailableError: If a model cannot be reached.
        MissingExtraError: If an optional dependency is not installed.
    """
    with track_usage() as usage:
        try:
            prediction = await answering
        except (ModelError, InputError) as error:
            raise_if_unavailable(error)
            return PredictorResult(error=str(error), cost=cost_of(usage, predictor_calls=1))
    return PredictorResult(prediction=prediction, cost=cost_of(usage, predictor_calls=1))
