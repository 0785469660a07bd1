"""The roles on models in this process, each as on a server: same prompts, same reading of answers."""

from collections.abc import Sequence

from caslie_tools.backends.transformers.language_model import LanguageModel, shared_model
from caslie_tools.backends.transformers.loading import require_local_extra
from caslie_tools.backends.transformers.settings import (
    LocalCaptionerSettings,
    LocalJudgeSettings,
    LocalPredictorSettings,
    LocalSettings,
)
from caslie_tools.roles.prompted import Choice, Prompt, Prompted, PromptedCaptioner, PromptedJudge, PromptedPredictor


class _InProcess(Prompted):
    """Asks a model in this process, which others may share. Nothing is loaded before the first call."""

    model: LanguageModel
    context_length: int

    def _take(self, settings: LocalSettings) -> None:
        require_local_extra(f"Running {settings.model} in this process")
        self.model = shared_model(settings)
        self.context_length = settings.context_length

    async def _write(self, prompt: Prompt, *, max_tokens: int, temperature: float, top_p: float = 1.0) -> str:
        return await self.model.write(
            prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            context_length=self.context_length,
        )

    async def _choose(self, prompt: Prompt, choices: Sequence[str]) -> Choice:
        return await self.model.choose(prompt, choices, context_length=self.context_length)


class LocalCaptioner(_InProcess, PromptedCaptioner):
    """A captioner in this process.

    Raises:
        MissingExtraError: If torch or transformers are not installed; so do the others.
    """

    def __init__(self, settings: LocalCaptionerSettings) -> None:
        self.settings = settings
        self.name = settings.identity
        self._take(settings)


class LocalJudge(_InProcess, PromptedJudge):
    """A judge in this process: one pass over the prompt, nothing is written."""

    def __init__(self, settings: LocalJudgeSettings) -> None:
        self.settings = settings
        self.name = settings.name
        self._take(settings)


class LocalPredictor(_InProcess, PromptedPredictor):
    """A predictor in this process: one pass over the prompt answers a closed task; open questions it writes on."""

    def __init__(self, settings: LocalPredictorSettings) -> None:
        self.settings = settings
        self.name = settings.identity
        self._take(settings)
