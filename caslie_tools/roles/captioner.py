"""EC3's captioner on any vision-language model."""

from typing import Any

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.domain import CaptionDraft
from caslie_tools.roles.interfaces import CaptionRequest
from caslie_tools.roles.langchain_models import AnyModel, as_language_model
from caslie_tools.roles.language_model import Prompt
from caslie_tools.roles.prompts import caption_prompt


class ModelCaptioner(AsyncRunnable[CaptionRequest, CaptionDraft]):
    """Captions an image with a vision-language model (paper, section on EC3).

    Args:
        model: A LangChain chat model that accepts images, or another vision-language model.
        name: The captioner's identity, a part of every caption's key; by default the model's name.
        max_side: Longest side, in pixels, of the image that is sent. Smaller images are not enlarged.
        max_tokens: Most tokens of a caption. LangChain models use their own setting.
        temperature: Sampling temperature. LangChain models use their own setting.
    """

    def __init__(
        self,
        model: AnyModel,
        *,
        name: str | None = None,
        max_side: int = 1024,
        max_tokens: int = 128,
        temperature: float = 0.0,
    ) -> None:
        self.model = as_language_model(model)
        self.name = name or self.model.name
        self.max_side = max_side
        self.max_tokens = max_tokens
        self.temperature = temperature

    async def ainvoke(self, input: CaptionRequest, config: RunnableConfig | None = None, **kwargs: Any) -> CaptionDraft:
        """Captions one image."""
        prompt = Prompt(text=caption_prompt(input.context), images=(input.image,), max_side=self.max_side)
        text = await self.model.write(prompt, max_tokens=self.max_tokens, temperature=self.temperature, config=config)
        return CaptionDraft(text=text)
