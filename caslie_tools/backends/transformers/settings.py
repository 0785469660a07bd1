"""What can be set of a role whose model runs in this process."""

from typing import Literal

from pydantic import Field

from caslie_tools.roles.settings import (
    CaptioningSettings,
    EmbeddingSettings,
    JudgingSettings,
    ModelSettings,
    PredictingSettings,
)


class LocalSettings(ModelSettings):
    """One model in this process. Weights are read from safetensors only; code that comes with a model is never run."""

    backend: Literal["transformers"] = "transformers"
    """What tells these settings from a server's."""
    revision: str | None = Field(default=None, min_length=1)
    """Branch, tag or commit on the hub; by default the newest."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """``auto``: a GPU where there is one, else the processor. Or ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto``: as the weights are saved, but float32 on a processor, most of which are slow at everything less."""
    context_length: int = Field(default=4096, ge=1)
    """Tokens a call may take, prompt and answer together; a longer one is refused."""

    @property
    def identity(self) -> str:
        """Tells this model from every other: its name and, where one is set, its revision."""
        return self.model if self.revision is None else f"{self.model}@{self.revision}"


class LocalCaptionerSettings(CaptioningSettings, LocalSettings):
    """A captioner in this process."""


class LocalJudgeSettings(JudgingSettings, LocalSettings):
    """A judge in this process."""

    context_length: int = Field(default=2048, ge=1)


class LocalPredictorSettings(PredictingSettings, LocalSettings):
    """A predictor in this process."""


class LocalEmbeddingsSettings(EmbeddingSettings, LocalSettings):
    """An encoder of texts in this process. Its vectors are the means over a text's tokens."""

    context_length: int = Field(default=512, ge=1)
    """Tokens of a text; the rest of a longer one is left out."""
