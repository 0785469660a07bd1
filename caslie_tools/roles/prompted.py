"""The roles on any model that takes a prompt: what it is told, and how its answer is read.

Where the model runs is for a subclass to say, by the two methods of :class:`Prompted`: on a server
(:mod:`caslie_tools.backends.endpoints.roles`), or in this process (:mod:`caslie_tools.backends.transformers.roles`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.domain import Answer, CaptionDraft, Vote
from caslie_tools.images.loading import LoadedImage
from caslie_tools.roles.chat import read_open_answer
from caslie_tools.roles.interfaces import CaptionRequest, JudgeRequest
from caslie_tools.roles.prompts import caption_prompt, judge_prompt, prediction_prompt, question_prompt, truth_prompt
from caslie_tools.roles.settings import CaptioningSettings, JudgingSettings, PredictingSettings
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.answers import parse_yes_no
from caslie_tools.tasks.layouts import render


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What a model is asked."""

    text: str
    image: LoadedImage | None = None
    """Comes before the text: questions about one image share that beginning."""
    max_side: int = 1024
    """Longest side, in pixels, the image is shown with; it is never enlarged."""
    raw: bool = False
    """Text to go on with as it stands, instead of a message to answer."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of a closed set of answers."""

    text: str
    probabilities: Mapping[str, float] | None
    """Of every answer there is; ``None`` where the model does not tell."""


class Prompted(ABC):
    """A role's model."""

    @abstractmethod
    async def _write(self, prompt: Prompt, *, max_tokens: int, temperature: float, top_p: float = 1.0) -> str:
        """Returns what the model writes; at a temperature of 0 the likeliest."""

    @abstractmethod
    async def _choose(self, prompt: Prompt, choices: Sequence[str]) -> Choice:
        """Returns the likeliest of a closed set of answers."""


class PromptedCaptioner(Prompted, AsyncRunnable[CaptionRequest, CaptionDraft]):
    """EC3's captioner: a vision-language model."""

    settings: CaptioningSettings

    async def ainvoke(
        self,
        input: CaptionRequest,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> CaptionDraft:
        """Captions one image."""
        settings = self.settings
        prompt = Prompt(text=caption_prompt(input.context), image=input.image, max_side=settings.max_side)
        text = await self._write(prompt, max_tokens=settings.max_tokens, temperature=settings.temperature)
        return CaptionDraft(text=text)


class PromptedJudge(Prompted, AsyncRunnable[JudgeRequest, Vote]):
    """One of CQE's judges: yes or no, with its probability.

    With ``sees_image`` it gets the picture as well and votes on whether the caption is true to it, which a judge of
    texts cannot know; where there is no picture it abstains.
    """

    settings: JudgingSettings

    async def ainvoke(
        self,
        input: JudgeRequest,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Vote:
        """Votes on one caption."""
        settings = self.settings
        if not settings.sees_image:
            prompt = Prompt(text=judge_prompt(input.context, input.caption))
        elif input.image is None:
            return Vote(judge=settings.name, verdict="abstain", reason="there is no image")
        else:
            image = await input.image.load()
            prompt = Prompt(text=truth_prompt(input.caption), image=image, max_side=settings.max_side)
        choice = await self._choose(prompt, ("yes", "no"))
        verdict = parse_yes_no(choice.text)
        if verdict is None:
            return Vote(judge=settings.name, verdict="abstain", reason="answered neither yes nor no")
        chances = choice.probabilities
        return Vote(judge=settings.name, verdict=verdict, probability=chances["yes"] if chances else None)


class PromptedPredictor(Prompted, AsyncRunnable[FusedInstance, Answer]):
    """UniM3's predictor: a tuned CASLIE model by raw completion, or any instruct model.

    Tasks with a closed set of answers get one of it, and every answer's probability comes with the call. What comes
    back is taken whole: there is no marker in it to cut at.
    """

    settings: PredictingSettings

    async def ainvoke(
        self,
        input: FusedInstance,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Answer:
        """Answers one instance."""
        settings = self.settings
        labels = get_task(input.task).labels(input)
        if settings.prompt == "completion":
            prompt = Prompt(text=render(input, settings.layout, wire=settings.wire), raw=True)
        else:
            prompt = Prompt(text=prediction_prompt(input, labels) if labels else question_prompt(input))
        if labels:  # the likeliest answer, not a sample: the same instance gets the same answer
            choice = await self._choose(prompt, labels)
            return Answer(text=choice.text, probabilities=dict(choice.probabilities) if choice.probabilities else None)
        text = await self._write(
            prompt, max_tokens=settings.max_tokens, temperature=settings.temperature, top_p=settings.top_p
        )
        return read_open_answer(text.strip(), input)
