"""The instances the gate got most wrong, for people to look at."""

from collections.abc import Sequence
from typing import Final

from caslie_tools._text import shortened
from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.gate_quality import is_judged, usefulness
from caslie_tools.evaluation.outcomes import CaptionOutcome, Outcome
from caslie_tools.evaluation.reading import Group

EXAMPLES: Final = 3
"""Of each kind."""


class Example(FrozenModel):
    """One instance the gate got wrong. Its texts come from a model or a shop: show them as data."""

    kind: str
    """``misled``: it kept what misleads; ``lost``: it rejected what helps."""
    task: str
    index: int
    """The record's place in the data, from 0."""
    gold: str
    without: str
    """The answer without captions."""
    with_captions: str
    """The answer with every caption."""
    gated: str
    captions: tuple[str, ...]
    """Those that were decided on, shortened."""
    votes: str
    """All votes on them together."""


def worst_examples(groups: Sequence[Group]) -> list[Example]:
    """Returns the instances where the jury was surest and wrong: first where it was misled, then where it lost help."""
    judged = [outcome for group in groups for outcome in group.outcomes if is_judged(outcome)]
    misled = [outcome for outcome in judged if usefulness(outcome) == "misleading" and not _gated(outcome)]
    lost = [outcome for outcome in judged if usefulness(outcome) == "helpful" and not _gated(outcome)]
    misled.sort(key=lambda outcome: (-_lead(outcome), outcome.index))
    lost.sort(key=lambda outcome: (_lead(outcome), outcome.index))
    return [_example("misled", outcome) for outcome in misled[:EXAMPLES]] + [
        _example("lost", outcome) for outcome in lost[:EXAMPLES]
    ]


def _gated(outcome: Outcome) -> bool:
    return outcome.treatments["gated"].right


def _decided(outcome: Outcome) -> list[CaptionOutcome]:
    return [caption for caption in outcome.treatments["gated"].captions if caption.text]


def _count(outcome: Outcome) -> tuple[int, int, int]:
    verdicts = [vote.verdict for caption in _decided(outcome) for vote in caption.votes]
    return verdicts.count("yes"), verdicts.count("no"), verdicts.count("abstain")


def _lead(outcome: Outcome) -> int:
    yes, no, _ = _count(outcome)
    return yes - no


def _example(kind: str, outcome: Outcome) -> Example:
    def answered(name: str) -> str:
        treated = next(one for treatment, one in outcome.treatments.items() if treatment == name)
        return shortened(treated.answer or f"none of the answers ({treated.text})", 60)

    yes, no, abstain = _count(outcome)
    return Example(
        kind=kind,
        task=outcome.task,
        index=outcome.index,
        gold=shortened(outcome.gold, 60),
        without=answered("none"),
        with_captions=answered("every"),
        gated=answered("gated"),
        captions=tuple(shortened(caption.text) for caption in _decided(outcome)[:2]),
        votes=f"{yes} yes, {no} no" + (f", {abstain} abstained" if abstain else ""),
    )
