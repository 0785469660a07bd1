import tracemalloc
from typing import Any

import pytest

from caslie_tools.domain import Vote
from caslie_tools.evaluation.outcomes import Outcome, Treatment
from caslie_tools.evaluation.scored_outcomes import OutcomeScorer, ScoredOutcome
from tests.evaluation.made_up_runs import outcome

ANSWERS: dict[Treatment, str | None] = {"none": "A", "every": "B", "gated": "A", "plain": None}


def large(index: int, **changes: Any) -> Outcome:
    """An outcome with long captions and votes, about one of ten products."""
    votes = [Vote(judge=f"judge-{number}", verdict="yes", reason="a reason") for number in range(5)]
    made = outcome(index, "A", ANSWERS, votes=votes, caption="word " * 50)
    return made.model_copy(update={"products": (f"p{index % 10}",), "users": ("u",)} | changes)


def test_a_scored_outcome_has_what_scores_need() -> None:
    scored = OutcomeScorer().score(large(3))
    assert (scored.index, scored.key, scored.gold, scored.split) == (3, "key-3", "A", "test")
    assert scored.names == {"p3", "user:u"}
    assert [(treated.answer, treated.right, treated.fused) for treated in scored.treatments.values()] == [
        ("A", True, 0),
        ("B", False, 1),
        ("A", True, 0),
        (None, False, 1),
    ]


@pytest.mark.parametrize(("text", "read"), [("B: Kettles", "B"), (" no ", "no"), ("word " * 50, ("word " * 50)[:60])])
def test_the_response_is_kept_as_the_reference_scoring_reads_it(text: str, read: str) -> None:
    made = large(0)
    treatments = {"none": made.treatments["none"].model_copy(update={"text": text})}
    assert OutcomeScorer().score(made.model_copy(update={"treatments": treatments})).treatments["none"].text == read


def test_equal_parts_are_shared_so_that_100_000_outcomes_fit_into_memory() -> None:
    made = [large(index) for index in range(1000)]
    scorer = OutcomeScorer()
    tracemalloc.start()
    try:
        scored: list[ScoredOutcome] = [scorer.score(one) for one in made]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert scored[0].names is scored[10].names
    assert scored[0].treatments["none"] is scored[1].treatments["none"]
    assert size / len(scored) < 1000  # bytes
