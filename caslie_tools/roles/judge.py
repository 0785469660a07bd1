"""One of CQE's judges on any language model."""

from typing import Any

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.domain import Vote
from caslie_tools.exceptions import ImageError
from caslie_tools.roles.interfaces import JudgeRequest
from caslie_tools.roles.langchain_models import AnyModel, as_language_model
from caslie_tools.roles.language_model import Prompt
from caslie_tools.roles.prompts import judge_prompt, truth_prompt
from caslie_tools.tasks.answers import parse_yes_no


class ModelJudge(AsyncRunnable[JudgeRequest, Vote]):
    """Votes yes or no on a caption; any other response is an abstention (paper, section on CQE).

    The vote has a probability if the model reports one.

    Args:
        model: A LangChain model or another language model.
        name: The judge's name in votes and traces; by default the model's name. It must be unique in a jury.
        sees_image: ``False``: the judge reads the caption and votes on whether it helps. ``True``: the judge also gets
            the image and votes on whether the caption is true to it; without an image it abstains.
        max_side: Longest side, in pixels, of the image that is sent. Smaller images are not enlarged.
        system: A system message before the prompt. Empty for none.
    """

    def __init__(
        self,
        model: AnyModel,
        *,
        name: str | None = None,
        sees_image: bool = False,
        max_side: int = 1024,
        system: str = "",
    ) -> None:
        self.model = as_language_model(model)
        self.name = name or self.model.name
        self.sees_image = sees_image
        self.max_side = max_side
        self.system = system

    async def ainvoke(self, input: JudgeRequest, config: RunnableConfig | None = None, **kwargs: Any) -> Vote:
        """Votes on one caption."""
        if not self.sees_image:
            options = () if input.instance is None else input.instance.options
            prompt = Prompt(text=judge_prompt(input.context, input.caption, options), system=self.system)
        elif input.image is None:
            return Vote(judge=self.name, verdict="abstain", reason="there is no image")
        else:
            try:
                image = await input.image.load()
            except ImageError as error:
                return Vote(judge=self.name, verdict="abstain", reason=f"the image cannot be read: {error}")
            prompt = Prompt(
                text=truth_prompt(input.caption), images=(image,), max_side=self.max_side, system=self.system
            )
        choice = await self.model.choose(prompt, ("yes", "no"), config=config)
        verdict = parse_yes_no(choice.text)
        if verdict is None:
            return Vote(judge=self.name, verdict="abstain", reason="answered neither yes nor no")
        probabilities = choice.probabilities
        return Vote(judge=self.name, verdict=verdict, probability=probabilities["yes"] if probabilities else None)
