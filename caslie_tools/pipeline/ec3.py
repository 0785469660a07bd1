"""EC3, Enriched Context-Conditioned Captioning: captions one image for a question (paper, section EC3)."""

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.domain import Caption, CaptionDraft, caption_key
from caslie_tools.exceptions import InputError, ModelError
from caslie_tools.roles.interfaces import Captioner, CaptionRequest
from caslie_tools.roles.prompts import EC3_PROMPT_VERSION

MAX_CAPTION_CHARACTERS = 1000
"""A caption has at most 50 words. Longer model output is cut at this length."""


class EC3(AsyncRunnable[CaptionRequest, Caption | None]):
    """Captions an image for its context. The result is ``None`` if the captioner found nothing to describe.

    Captioners are tried in order until one of them answers. Every call asks a captioner:
    :class:`~caslie_tools.pipeline.captioning.CaptionProvider` reuses stored captions, shares equal calls and limits how
    many run at the same time.

    Args:
        captioners: In order of preference.
        timeout_seconds: Time limit of one captioner for one image.

    Raises:
        InputError: If there is no captioner.
        ModelError: If every captioner failed.
    """

    def __init__(self, captioners: Sequence[Captioner], *, timeout_seconds: float = 60.0) -> None:
        if not captioners:
            raise InputError("EC3 needs at least one captioner")
        self.captioners = tuple(captioners)
        self.timeout_seconds = timeout_seconds

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
        failures: list[str] = []
        cause: Exception | None = None
        for captioner in self.captioners:
            try:
                async with asyncio.timeout(self.timeout_seconds):
                    draft = await captioner.ainvoke(input, config)
                return _caption(input, captioner.get_name(), draft)
            except Exception as error:  # noqa: BLE001 (any failure of a model is a reason to try the next one)
                # Only the type: a client's message may contain an address or a key.
                failures.append(f"{captioner.get_name()}: {type(error).__name__}")
                cause = error
        raise ModelError(
            f"every captioner failed ({'; '.join(failures)}); check their endpoints, or answer from text only"
        ) from cause


def _caption(request: CaptionRequest, captioner: str, draft: CaptionDraft) -> Caption | None:
    # As in the reference: a blank line becomes two spaces, which the wire format `paper` keeps.
    text = draft.text.replace("\n", " ").replace("\t", " ").strip()[:MAX_CAPTION_CHARACTERS].rstrip()
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
