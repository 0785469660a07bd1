"""Runs of an evaluation with made-up votes of known quality."""

import random
from collections.abc import Callable
from pathlib import Path

from caslie_tools.domain import Vote
from tests.evaluation.made_up_runs import judged, write_run

TASK = "multiclass_product_classification"
QUORUM = 3
JUDGES = ("good", "noise-1", "noise-2", "noise-3", "noise-4")

CastVote = Callable[[random.Random, bool], Vote]


def good(draw: random.Random, helps: bool) -> Vote:
    """Votes right in nine of ten cases."""
    yes = helps if draw.random() < 0.9 else not helps
    return Vote(judge="good", verdict="yes" if yes else "no", probability=0.8 if yes else 0.2)


def noise(draw: random.Random, _: bool) -> Vote:
    """Votes at random, with a random probability."""
    probability = draw.random()
    return Vote(judge="noise", verdict="yes" if probability >= 0.5 else "no", probability=probability)


def guess(draw: random.Random, _: bool) -> Vote:
    """Votes at random, without a probability, and sometimes abstains."""
    return Vote(judge="guess", verdict=draw.choice(["yes", "no", "yes", "no", "abstain"]))


def run_of(folder: Path, *judges: CastVote, seed: int = 0, count: int = 300) -> Path:
    """A run with equal numbers of helpful, misleading, redundant and ineffective captions, judged by these judges."""
    draw = random.Random(seed)  # noqa: S311 (made-up votes)
    outcomes = []
    for index in range(count):
        every, none = (True, False) if index % 4 == 0 else (False, True) if index % 4 == 1 else (index % 4 == 2,) * 2
        helps = every and not none if every != none else draw.random() < 0.5
        votes = [
            vote(draw, helps).model_copy(update={"judge": name}) for vote, name in zip(judges, JUDGES, strict=False)
        ]
        yes, no = (sum(vote.verdict == verdict for vote in votes) for verdict in ("yes", "no"))
        outcomes.append(judged(index, none=none, every=every, votes=votes, kept=yes > no and yes + no >= QUORUM))
    return write_run(folder, outcomes, {"data": "made-up.json", "profile": "light", "settings": {"quorum": QUORUM}})
