"""The settings of a role whose model runs in this process."""

from typing import Literal

from pydantic import Field

from caslie_tools.roles.settings import (
    NAME_PATTERN,
    CaptionerSettings,
    ClaimCheckerSettings,
    EmbeddingsSettings,
    JudgeSettings,
    ModelSettings,
    PredictorSettings,
    VisionPredictorSettings,
)


class TransformersSettings(ModelSettings):
    """A model in this process, loaded by Hugging Face transformers.

    Weights are read from safetensors files only. Code that comes with a model is never run.
    """

    backend: Literal["transformers"] = "transformers"
    """Distinguishes these settings from those of a model on a server."""
    model: str = Field(pattern=NAME_PATTERN)
    """A name on the Hugging Face Hub, or a folder."""
    revision: str | None = Field(default=None, min_length=1)
    """Branch, tag or commit on the hub; by default the newest."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """``auto`` (a GPU if there is one, otherwise the processor), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto``: as the weights are saved, but float32 on a processor, because most processors compute slowly in the
    smaller types."""
    context_length: int = Field(default=4096, ge=1)
    """Most tokens of one call, prompt and response together. A longer call is refused."""

    @property
    def identity(self) -> str:
        """The model's name with its revision, if one is set."""
        return self.model if self.revision is None else f"{self.model}@{self.revision}"


class TransformersCaptionerSettings(CaptionerSettings, TransformersSettings):
    """A captioner in this process."""


class TransformersJudgeSettings(JudgeSettings, TransformersSettings):
    """A judge in this process."""

    context_length: int = Field(default=2048, ge=1)


class TransformersClaimCheckerSettings(ClaimCheckerSettings, TransformersJudgeSettings):
    """A claim checker in this process."""


class TransformersPredictorSettings(PredictorSettings, TransformersSettings):
    """A predictor in this process."""


class TransformersVisionPredictorSettings(VisionPredictorSettings, TransformersSettings):
    """A vision predictor in this process."""


class TransformersEmbeddingsSettings(EmbeddingsSettings, TransformersSettings):
    """A text encoder in this process. A text's vector is the mean over its tokens."""

    context_length: int = Field(default=512, ge=1)
    """Most tokens of a text; the rest of a longer text is ignored."""
