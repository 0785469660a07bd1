"""Captions: what they are made for, what they say and where they come from."""

from datetime import UTC, datetime
from typing import Final, Literal, Self

from pydantic import Field

from caslie_tools.domain.base import FrozenModel, digest

GENERAL_TASK: Final = "index"
"""The task of the context of a general caption, which is made without a question when an image is indexed."""


class QueryContext(FrozenModel):
    """The context of a caption: the task and the text that it must help with.

    EC3 captions the image for this context, and CQE judges the caption by it (paper, sections EC3 and CQE).
    """

    task: str
    """The task's name."""
    aim: str = ""
    """What the caption must help with. It completes the sentence "The caption must help with ..."."""
    focus: str = ""
    """The text that the caption must help with: a question, a search query or a review. Empty if there is none, as for
    a task about the product as a whole. A product's title is never the focus."""
    known: str = ""
    """The text that is already available about the product in the image, for example its title. A caption need not
    repeat it."""
    compared_with: str = ""
    """The text of another product that the pictured one is compared with. Empty if there is none."""
    question: str = ""
    """The yes/no question for the judges."""

    @property
    def text(self) -> str:
        """The text by which two contexts are compared: ``focus``, or ``known`` if it is empty. The store embeds it."""
        return self.focus or self.known

    @property
    def is_general(self) -> bool:
        """Whether a caption for this context is a general one, made when its image is indexed."""
        return self.task == GENERAL_TASK

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all fields."""
        return digest(self._identity())

    def _identity(self) -> dict[str, str]:
        """Returns the fields that tell contexts apart. An empty ``compared_with`` does not change stored keys."""
        fields: dict[str, str] = self.model_dump()
        return fields if self.compared_with else {name: fields[name] for name in fields if name != "compared_with"}


EvidenceKind = Literal["text", "tag", "resembles", "colour"]


class Evidence(FrozenModel):
    """One thing that a captioner recognised in an image."""

    kind: EvidenceKind
    """``text`` in the image, a ``tag`` of a classifier, a catalogue product that the image ``resembles``, or a
    ``colour``."""
    text: str
    score: float = Field(ge=0, le=1)
    """The confidence of the recogniser. For a colour, its share of the image."""


class CaptionDraft(FrozenModel):
    """The answer of a captioner: the text, and the evidence for it if the captioner reports evidence."""

    text: str
    evidence: tuple[Evidence, ...] = ()


class Caption(FrozenModel):
    """A caption and its provenance."""

    key: str
    """SHA-256 (hex) of image, context, captioner and prompt version: see :func:`caption_key`. Empty for a given
    caption, which the store does not hold."""
    text: str
    image: str
    """SHA-256 (hex) of the image's bytes. Empty for a given caption."""
    context: QueryContext
    """The context that the caption was made for."""
    captioner: str
    """Identity of the model that made the caption."""
    prompt_version: str
    evidence: tuple[Evidence, ...] = ()
    source: Literal["cache", "generated", "given"] = "generated"
    """Reused from the store, made for this request, or given by the caller."""
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def given(cls, text: str, context: QueryContext) -> Self:
        """Returns a caption that the caller supplied instead of a captioner."""
        return cls(key="", text=text, image="", context=context, captioner="given", prompt_version="", source="given")


def caption_key(image: str, context: QueryContext, captioner: str, prompt_version: str) -> str:
    """Returns the key that a caption is stored under. Equal keys mean equal image, context, captioner and prompt.

    Args:
        image: SHA-256 (hex) of the image's bytes.
        context: What the caption is for.
        captioner: Identity of the captioner.
        prompt_version: Version of the prompt's wording.
    """
    return digest([image, context._identity(), captioner, prompt_version])
