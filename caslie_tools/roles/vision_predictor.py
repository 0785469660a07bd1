"""A predictor that answers from the images themselves: a baseline for answers from captions."""

from typing import Any

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.domain import Answer
from caslie_tools.exceptions import InputError
from caslie_tools.roles.interfaces import VisionRequest
from caslie_tools.roles.langchain_models import AnyModel, as_language_model
from caslie_tools.roles.language_model import Prompt
from caslie_tools.roles.predictor import read_open_answer
from caslie_tools.roles.prompts import prediction_prompt, question_prompt, with_image_names
from caslie_tools.tasks import get_task


class ModelVisionPredictor(AsyncRunnable[VisionRequest, Answer]):
    """Answers an instance from its text and its images with a vision-language model.

    A task with a closed set of answers gets the most likely one, as with
    :class:`~caslie_tools.roles.predictor.ModelPredictor`.

    Args:
        model: A LangChain chat model that accepts images, or another vision-language model.
        name: The name in traces; by default the model's name.
        max_side: Longest side, in pixels, of the images that are sent. Smaller images are not enlarged.
        max_images: Most images of one instance.
        max_tokens: Most tokens of an answer to an open question. LangChain models use their own setting.

    Raises:
        InputError: If an instance has more images.
    """

    def __init__(
        self,
        model: AnyModel,
        *,
        name: str | None = None,
        max_side: int = 512,
        max_images: int = 2,
        max_tokens: int = 100,
    ) -> None:
        self.model = as_language_model(model)
        self.name = name or self.model.name
        self.max_side = max_side
        self.max_images = max_images
        self.max_tokens = max_tokens

    async def ainvoke(self, input: VisionRequest, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        """Answers one instance."""
        if len(input.images) > self.max_images:
            raise InputError(f"{self.name} accepts {self.max_images} images, but the instance has {len(input.images)}")
        labels = get_task(input.instance.task).labels(input.instance)
        text = prediction_prompt(input.instance, labels) if labels else question_prompt(input.instance)
        prompt = Prompt(
            text=with_image_names(text, [name for name, _ in input.images]),
            images=tuple(image for _, image in input.images),
            max_side=self.max_side,
        )
        if labels:
            choice = await self.model.choose(prompt, labels, config=config)
            return Answer(text=choice.text, probabilities=choice.probabilities and dict(choice.probabilities))
        written = await self.model.write(prompt, max_tokens=self.max_tokens, temperature=0.0, config=config)
        return read_open_answer(written.strip(), input.instance)
