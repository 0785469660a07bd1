"""EC3, Enriched Context-Conditioned Captioning: one image, captioned for the question at hand (paper, section EC3)."""

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable, ConcurrencyLimit, SingleFlight
from caslie_tools.domain import Caption, CaptionDraft, caption_key
from caslie_tools.exceptions import InputError, ModelError
from caslie_tools.roles.interfaces import Captioner, CaptionRequest
from caslie_tools.roles.prompts import EC3_PROMPT_VERSION

MAX_CAPTION_CHARACTERS = 1000
"""A caption has at most 50 words; whatever a model adds beyond this is cut."""


class EC3(AsyncRunnable[CaptionRequest, Caption | None]):
    """Captions an image for its context; ``None`` where the captioner has nothing to say.

    Captioners are tried in order until one answers. Requests for the same image and context that meet share one call.

    Args:
        captioners: In order of preference.
        max_concurrency: Calls under way at once.
        timeout_seconds: Time one captioner has for one image.

    Raises:
        InputError: If there is no captioner.
        ModelError: If every captioner failed.
    """

    def __init__(
        self, captioners: Sequence[Captioner], *, max_concurrency: int = 4, timeout_seconds: float = 60.0
    ) -> None:
        if not captioners:
            raise InputError("EC3 needs at least one captioner")
        self.captioners = tuple(captioners)
        self.timeout_seconds = timeout_seconds
        self._bound = ConcurrencyLimit(max_concurrency)
        self._shared = SingleFlight[Caption | None]()

    @property
    def identities(self) -> tuple[str, ...]:
        """The captioners' identities, in order of preference."""
        return tuple(captioner.get_name() for captioner in self.captioners)

    async def ainvoke(
        self,
        input: CaptionRequest,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Caption | None:
        """Captions one image."""
        # The product is part of the question: what a picture resembles leaves its own product out.
        key = caption_key(input.image.sha256, input.context, input.product or "", EC3_PROMPT_VERSION)
        return await self._shared(key, lambda: self._caption(input, config))

    async def _caption(self, request: CaptionRequest, config: RunnableConfig | None) -> Caption | None:
        failures: list[str] = []
        cause: Exception | None = None
        for captioner in self.captioners:
            try:
                async with self._bound(), asyncio.timeout(self.timeout_seconds):
                    draft = await captioner.ainvoke(request, config)
                return self._finish(request, captioner.get_name(), draft)
            except Exception as error:  # noqa: BLE001 (any model's failure is a reason to try the next)
                failures.append(f"{captioner.get_name()}: {type(error).__name__}")
                cause = error
        raise ModelError(
            f"every captioner failed ({'; '.join(failures)}); check the endpoints or go on text only"
        ) from cause

    @staticmethod
    def _finish(request: CaptionRequest, captioner: str, draft: CaptionDraft) -> Caption | None:
        text = " ".join(draft.text.split())[:MAX_CAPTION_CHARACTERS].rstrip()
        if len(text) < 2:
            return None
        return Caption(
            key=caption_key(request.image.sha256, request.context, captioner, EC3_PROMPT_VERSION),
            text=text,
            image=request.image.sha256,
            context=request.context,
            captioner=captioner,
            prompt_version=EC3_PROMPT_VERSION,
            evidence=draft.evidence,
        )
