"""Finds the instances with the worst mistakes of the gate, as examples for the report."""

from typing import Final, Literal, TypeAlias

from pydantic import Field

from caslie_tools._text import shortened
from caslie_tools.domain import FrozenModel, ImageRef
from caslie_tools.evaluation.caption_effects import is_judged, joint_use
from caslie_tools.evaluation.outcomes import CaptionOutcome, Outcome, Treatment
from caslie_tools.evaluation.thumbnails import thumbnail
from caslie_tools.tasks.answers import option_label

MISTAKES_PER_KIND: Final = 3
_MAX_CAPTIONS: Final = 2
_MAX_ANSWER_CHARACTERS: Final = 80

Kind: TypeAlias = Literal["misled", "lost"]
"""``misled``: the gate kept captions that mislead together. ``lost``: it rejected captions that help together."""


class MistakenCaption(FrozenModel):
    """A caption that the gate decided on, and its picture."""

    text: str
    """The caption, shortened."""
    votes: str
    """The counts of the votes."""
    picture: str
    """Name of the picture: its file, or its URL without a query. Empty if the outcome does not name it."""
    thumbnail: str = Field(default="", exclude=True, repr=False)
    """A small copy of the picture as a ``data:`` URL. Empty if it is not on this machine."""


class GateMistake(FrozenModel):
    """An instance that the gate decided wrong. Its texts come from models and shops and must be escaped."""

    kind: Kind
    task: str
    index: int
    """The record's position in the data, from 0."""
    input: str
    """The text of the instance, shortened."""
    gold: str
    """The right answer. Answers are options with their text."""
    without: str
    """The answer without captions."""
    with_captions: str
    """The answer with all captions."""
    gated: str
    """The answer with the captions that the gate keeps."""
    captions: tuple[MistakenCaption, ...]
    """At most two."""
    votes: str
    """The counts of all votes on all captions."""


class WorstMistakes:
    """Collects the mistakes with the largest vote margin. It holds only a few outcomes at any time."""

    def __init__(self) -> None:
        self._worst: dict[Kind, list[Outcome]] = {"misled": [], "lost": []}

    def add(self, outcome: Outcome) -> None:
        """Adds the outcome of one instance."""
        if not is_judged(outcome) or outcome.treatments["gated"].right:
            return
        kinds: dict[str, Kind] = {"misleading": "misled", "helpful": "lost"}
        if (kind := kinds.get(joint_use(outcome))) is not None:
            sign = -1 if kind == "misled" else 1
            found = [*self._worst[kind], outcome]
            found.sort(key=lambda one: (sign * _vote_margin(one), one.index, one.key))
            self._worst[kind] = found[:MISTAKES_PER_KIND]

    def mistakes(self) -> list[GateMistake]:
        """Returns the mistakes: first the kept misleading captions, then the rejected helpful ones."""
        return [_mistake(kind, outcome) for kind, outcomes in self._worst.items() for outcome in outcomes]


def _judged_captions(outcome: Outcome) -> list[CaptionOutcome]:
    return [caption for caption in outcome.treatments["gated"].captions if caption.text]


def _count_votes(*captions: CaptionOutcome) -> tuple[int, int, int]:
    verdicts = [vote.verdict for caption in captions for vote in caption.votes]
    return verdicts.count("yes"), verdicts.count("no"), verdicts.count("abstain")


def _vote_margin(outcome: Outcome) -> int:
    yes, no, _ = _count_votes(*_judged_captions(outcome))
    return yes - no


def _vote_text(*captions: CaptionOutcome) -> str:
    yes, no, abstain = _count_votes(*captions)
    return f"{yes} yes, {no} no" + (f", {abstain} abstained" if abstain else "")


def _mistake(kind: Kind, outcome: Outcome) -> GateMistake:
    captions = _judged_captions(outcome)
    return GateMistake(
        kind=kind,
        task=outcome.task,
        index=outcome.index,
        input=shortened(outcome.input, 300),
        gold=_answer_text(outcome, outcome.gold),
        without=_answer(outcome, "none"),
        with_captions=_answer(outcome, "every"),
        gated=_answer(outcome, "gated"),
        captions=tuple(_caption(outcome, caption) for caption in _worst_first(kind, outcome)[:_MAX_CAPTIONS]),
        votes=_vote_text(*captions),
    )


def _worst_first(kind: Kind, outcome: Outcome) -> list[CaptionOutcome]:
    """Returns the judged captions. Those that the gate decided wrong by their own effect come first."""
    every = outcome.treatments["every"].captions
    without = {caption.image: caption.right_without for caption in every}

    def is_right(caption: CaptionOutcome) -> bool:
        is_cause = without.get(caption.image) is (kind == "misled")
        return not (is_cause and caption.kept is (kind == "misled"))

    return sorted(_judged_captions(outcome), key=is_right)


def _caption(outcome: Outcome, caption: CaptionOutcome) -> MistakenCaption:
    ref = _picture(outcome, caption)
    return MistakenCaption(
        text=shortened(caption.text),
        votes=_vote_text(caption),
        picture=shortened(ref.label) if ref else "",
        thumbnail=thumbnail(ref) if ref else "",
    )


def _picture(outcome: Outcome, caption: CaptionOutcome) -> ImageRef | None:
    location = outcome.images[caption.image] if caption.image < len(outcome.images) else None
    try:
        return ImageRef.parse(location) if location else None
    except ValueError:  # a malformed URL
        return None


def _answer(outcome: Outcome, treatment: Treatment) -> str:
    treated = outcome.treatments[treatment]
    if treated.answer is None:
        return shortened(f"invalid answer ({treated.text})", _MAX_ANSWER_CHARACTERS)
    return _answer_text(outcome, treated.answer)


def _answer_text(outcome: Outcome, answer: str) -> str:
    """Returns an answer: for a letter, the option with its text. An empty answer says that there is none."""
    option = next((option for option in outcome.options if option_label(option) == answer.strip()), answer)
    return shortened(option or "not answerable", _MAX_ANSWER_CHARACTERS)
