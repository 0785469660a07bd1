"""The effect of captions on the answer (as EcomMMMU defines it for images).

A caption is *helpful* if the answer is right only with it, and *misleading* if it is right only without it. It is
*redundant* if the answer is right both ways, and *ineffective* if it is wrong both ways.

For an instance with one caption, "with" is the treatment ``every`` and "without" is ``none``. If there are several
captions, "with" has all of them, and "without" has all but the one in question.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from caslie_tools.domain import Vote
from caslie_tools.evaluation.outcomes import Outcome, Treatment

Usefulness: TypeAlias = Literal["helpful", "redundant", "misleading", "ineffective"]
USEFULNESS: Final[tuple[Usefulness, ...]] = get_args(Usefulness)
NEEDED: Final[tuple[Treatment, ...]] = ("none", "every", "gated")
"""The treatments that effects are computed from."""


@dataclass(frozen=True, slots=True)
class JudgedCaption:
    """A caption that the gate decided on."""

    use: Usefulness
    kept: bool
    votes: tuple[Vote, ...]
    """The votes of the whole jury."""
    signals: Mapping[str, float] = field(default_factory=dict)
    """Numbers about the caption itself."""


def usefulness(*, with_caption: bool, without: bool) -> Usefulness:
    """Returns the effect of captions from whether the answer is right with and without them."""
    if with_caption:
        return "redundant" if without else "helpful"
    return "misleading" if without else "ineffective"


def is_judged(outcome: Outcome) -> bool:
    """Whether an instance has a caption to decide on, and an answer under every treatment needed."""
    return (
        all(name in outcome.treatments and not outcome.treatments[name].failed for name in NEEDED)
        and outcome.treatments["every"].fused > 0
    )


def joint_use(outcome: Outcome) -> Usefulness:
    """Returns the effect of all captions of an instance together."""
    return usefulness(with_caption=outcome.treatments["every"].right, without=outcome.treatments["none"].right)


def judged_captions(outcome: Outcome) -> Iterator[JudgedCaption]:
    """Yields the captions of an instance that the gate decided on, each with its own effect.

    A caption whose effect is unknown is left out: if there are several captions and leaving it out was not evaluated,
    or if the predictor failed then. So is a caption that lost claims: the effect of what is left was not evaluated.
    """
    if not is_judged(outcome):
        return
    every, gated = outcome.treatments["every"], outcome.treatments["gated"]
    for made, decided in zip(every.captions, gated.captions, strict=False):
        if made.text and not decided.removed:
            without = outcome.treatments["none"].right if every.fused == 1 else made.right_without
            if without is not None:
                use = usefulness(with_caption=every.right, without=without)
                yield JudgedCaption(use, decided.kept, decided.votes, decided.signals)


def right_in_any(outcome: Outcome) -> bool:
    """Whether the answer is right with at least one of the evaluated selections of captions.

    They are none, all, all but one, and those that the gate keeps.
    """
    treated = [outcome.treatments[name].right for name in NEEDED]
    return any(treated) or any(caption.right_without for caption in outcome.treatments["every"].captions)
