"""Finds the instances with the worst mistakes of the gate, as examples for the report."""

from collections.abc import Sequence
from typing import Final

from caslie_tools._text import shortened
from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.gate_quality import is_judged, usefulness
from caslie_tools.evaluation.groups import OutcomeGroup
from caslie_tools.evaluation.outcomes import CaptionOutcome, Outcome

MISTAKES_PER_KIND: Final = 3


class GateMistake(FrozenModel):
    """An instance that the gate decided wrong. Its texts come from models and shops and must be escaped."""

    kind: str
    """``misled``: the gate kept a misleading caption. ``lost``: it rejected a helpful caption."""
    task: str
    index: int
    """The record's position in the data, from 0."""
    gold: str
    without: str
    """The answer without captions."""
    with_captions: str
    """The answer with all captions."""
    gated: str
    """The answer with the captions that the gate keeps."""
    captions: tuple[str, ...]
    """The captions, shortened. At most two."""
    votes: str
    """The counts of all votes on all captions."""


def worst_gate_mistakes(groups: Sequence[OutcomeGroup]) -> list[GateMistake]:
    """Returns the mistakes with the largest vote margin: first kept misleading captions, then rejected helpful ones."""
    judged = [outcome for group in groups for outcome in group.outcomes if is_judged(outcome)]
    misled = [outcome for outcome in judged if usefulness(outcome) == "misleading" and not _is_gated_right(outcome)]
    lost = [outcome for outcome in judged if usefulness(outcome) == "helpful" and not _is_gated_right(outcome)]
    misled.sort(key=lambda outcome: (-_vote_margin(outcome), outcome.index))
    lost.sort(key=lambda outcome: (_vote_margin(outcome), outcome.index))
    return [_mistake("misled", outcome) for outcome in misled[:MISTAKES_PER_KIND]] + [
        _mistake("lost", outcome) for outcome in lost[:MISTAKES_PER_KIND]
    ]


def _is_gated_right(outcome: Outcome) -> bool:
    return outcome.treatments["gated"].right


def _judged_captions(outcome: Outcome) -> list[CaptionOutcome]:
    return [caption for caption in outcome.treatments["gated"].captions if caption.text]


def _count_votes(outcome: Outcome) -> tuple[int, int, int]:
    verdicts = [vote.verdict for caption in _judged_captions(outcome) for vote in caption.votes]
    return verdicts.count("yes"), verdicts.count("no"), verdicts.count("abstain")


def _vote_margin(outcome: Outcome) -> int:
    yes, no, _ = _count_votes(outcome)
    return yes - no


def _mistake(kind: str, outcome: Outcome) -> GateMistake:
    def answered(name: str) -> str:
        treated = next(one for treatment, one in outcome.treatments.items() if treatment == name)
        return shortened(treated.answer or f"invalid answer ({treated.text})", 60)

    yes, no, abstain = _count_votes(outcome)
    return GateMistake(
        kind=kind,
        task=outcome.task,
        index=outcome.index,
        gold=shortened(outcome.gold, 60),
        without=answered("none"),
        with_captions=answered("every"),
        gated=answered("gated"),
        captions=tuple(shortened(caption.text) for caption in _judged_captions(outcome)[:2]),
        votes=f"{yes} yes, {no} no" + (f", {abstain} abstained" if abstain else ""),
    )
