"""The comparison of the verdicts of two strategies."""

from agreement import Agreement, compare

from caslie_tools.domain import GateDecision, Vote


def decision(kept: bool, **verdicts: str) -> GateDecision:
    votes = [Vote.model_validate({"judge": judge, "verdict": verdict}) for judge, verdict in verdicts.items()]
    return GateDecision(kept=kept, votes=tuple(votes))


def test_equal_verdicts_and_votes() -> None:
    found = compare([decision(True, a="yes", b="no", c="yes")], [decision(True, a="yes", c="yes")])
    assert found == Agreement(captions=1, same=1, by_abstentions=0, votes=2, same_votes=2)
    assert found.by_votes == 0


def test_a_verdict_can_differ_only_because_of_an_abstention() -> None:
    found = compare([decision(False, a="yes", b="abstain")], [decision(True, a="yes", b="yes")])
    assert found == Agreement(captions=1, same=0, by_abstentions=1, votes=1, same_votes=1)
    assert found.by_votes == 0


def test_a_verdict_can_differ_because_a_judge_votes_differently() -> None:
    reference = [decision(False, a="no", b="abstain"), decision(True, a="no", b="yes")]
    ours = [decision(True, a="yes", b="yes"), decision(True, a="yes", b="yes")]
    found = compare(reference, ours)
    assert found == Agreement(captions=2, same=1, by_abstentions=0, votes=3, same_votes=1)
    assert found.by_votes == 1
