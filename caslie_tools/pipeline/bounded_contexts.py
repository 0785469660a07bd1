"""Bounds the texts that captions are conditioned on to what the models of captioners and judges take.

Captions are stored by their context, so a context is bounded before anything else is done with it. The predictor gets
the whole texts.
"""

from collections.abc import Sequence
from typing import Final

from caslie_tools.domain import FrozenModel, QueryContext
from caslie_tools.tasks import Instance, get_task
from caslie_tools.tasks.instances import WireFormat

_BYTES_PER_TOKEN: Final = 2
"""Few texts have fewer: English has about 4, Chinese 2 to 4. Only long rows of digits have 1."""
_PROMPT_TOKENS: Final = 400
"""Enough for the wording of a prompt and a caption of 50 words."""
_MIN_BYTES: Final = 400
"""The texts of a context have at least these bytes, also if the options leave no room."""
_CUT: Final = "…"
_TEXTS: Final = ("focus", "known", "compared_with")


class BoundedContext(FrozenModel):
    """The context of one place of an instance."""

    context: QueryContext
    note: str = ""
    """What was cut. Empty if nothing was."""


def bounded_contexts(instance: Instance, *, wire: WireFormat, text_tokens: int | None) -> list[BoundedContext]:
    """Returns the contexts of an instance's places.

    The longest texts are cut first: a question stays whole beside a long document.

    Args:
        instance: The instance.
        wire: The wire format.
        text_tokens: Most tokens of text that the models take. ``None`` for any number.
    """
    places = get_task(instance.task).places(instance, wire)
    if text_tokens is None:
        return [BoundedContext(context=place.context) for place in places]
    room = (text_tokens - _PROMPT_TOKENS) * _BYTES_PER_TOKEN - sum(map(_size, instance.options))
    bounded = []
    for place in places:
        context = _bounded(place.context, max(room, _MIN_BYTES))
        before, after = (sum(map(len, _texts(each).values())) for each in (place.context, context))
        note = ""
        if after < before:
            note = (
                f"{place.name}: captioner and judges got {after} of {before} characters of text; the rest does not fit "
                "into the context length of their models"
            )
        bounded.append(BoundedContext(context=context, note=note))
    return bounded


def _bounded(context: QueryContext, max_bytes: int) -> QueryContext:
    texts = _texts(context)
    longest = _longest([_size(text) for text in texts.values()], max_bytes)
    cut = {text: _cut(text, longest) for text in texts.values()}
    return context.model_copy(update={name: cut.get(getattr(context, name), "") for name in _TEXTS})


def _texts(context: QueryContext) -> dict[str, str]:
    """Returns the texts of a context that a prompt has: a text that stands there twice counts once."""
    return {text: text for name in _TEXTS if (text := getattr(context, name))}


def _longest(sizes: Sequence[int], total: int) -> int:
    """Returns the size to cut all texts to, so that their sum is at most ``total``."""
    left = total
    for number, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - number)
        if size > share:
            return share
        left -= size
    return total


def _cut(text: str, max_bytes: int) -> str:
    if _size(text) <= max_bytes:
        return text
    return text.encode()[: max_bytes - _size(_CUT)].decode(errors="ignore").rstrip() + _CUT


def _size(text: str) -> int:
    return len(text.encode())
