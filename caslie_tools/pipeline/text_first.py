"""Text first: pictures are looked at only if the answer from text alone is not sure enough.

The predictor first answers without captions. If the probability of its answer reaches the threshold of the task, this
is the answer: no picture is loaded, captioned or judged. The thresholds are calibrated on instances that were answered
both ways (:mod:`caslie_tools.tuning.text_first`). They are stored as JSON.
"""

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from caslie_tools.domain import FrozenModel, Prediction, Probability
from caslie_tools.exceptions import SettingsError, UnsupportedModelError
from caslie_tools.pipeline.tuned_file import TunedFile


class Guarantee(FrozenModel):
    """What the thresholds promise, for each task.

    With the probability ``confidence``, at most the share ``max_loss`` of the answers is lost. An answer is lost if it
    is wrong from text alone, and right with the captions that the jury keeps. Every product counts the same, however
    many instances it has.
    """

    max_loss: float = Field(gt=0, lt=1)
    confidence: float = Field(gt=0, lt=1)


class TextAnswer(FrozenModel):
    """An answer from text alone, and whether it is sure enough to look at no picture."""

    prediction: Prediction
    confidence: Probability
    """The probability of the answer."""
    threshold: Probability
    """The confidence that is needed."""

    @property
    def is_enough(self) -> bool:
        """Whether this is the final answer, so that no picture is looked at."""
        return self.confidence >= self.threshold


class TextFirst(TunedFile):
    """The confidence, for each task, at which the answer from text alone is enough.

    Pictures are always looked at for tasks without a threshold.
    """

    file_name: ClassVar[str] = "the text-first file"
    command: ClassVar[str] = "caslie tune text-first"

    version: Literal[1] = 1
    predictor: str
    """The name of the predictor that the thresholds were calibrated for."""
    guarantee: Guarantee
    thresholds: dict[str, Probability] = Field(min_length=1)
    """By the name of the task."""
    provenance: dict[str, JsonValue] = Field(default_factory=dict)
    """The data and the models that the thresholds were calibrated on, and what they save and lose there."""

    def require_predictor(self, name: str) -> None:
        """Raises an error if a predictor is not the one that the thresholds were calibrated for.

        Raises:
            SettingsError: If the names differ.
        """
        if name != self.predictor:
            raise SettingsError(
                f"the text-first thresholds were calibrated for the predictor {self.predictor}, but the predictor is "
                f"{name}: calibrate them for this predictor, or use none"
            )

    def judge(self, prediction: Prediction) -> TextAnswer:
        """Returns an answer from text alone with its confidence.

        Raises:
            UnsupportedModelError: If the prediction has no probabilities.
        """
        if not prediction.probabilities:
            raise UnsupportedModelError(
                f"the predictor {self.predictor} reports no probabilities, which the text-first thresholds need: use a "
                "predictor that reports them, or no thresholds (CASLIE_TEXT_FIRST)"
            )
        return TextAnswer(
            prediction=prediction,
            confidence=confidence_of(prediction.label, prediction.probabilities),
            threshold=self.thresholds[prediction.task],
        )


def confidence_of(label: str | None, probabilities: dict[str, Probability]) -> float:
    """Returns the probability of the answer. 0 for an answer that is not a label."""
    return 0.0 if label is None else probabilities.get(label, 0.0)
