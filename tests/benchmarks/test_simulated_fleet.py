"""The simulated judges: the same vote however they are asked, and the odds that are stated."""

from typing import Any

import pytest

from benchmarks.simulated_fleet import Service

JUDGES = [f"judge-{number}" for number in range(5)]


def request(judge: str, number: int, **fields: Any) -> dict[str, Any]:
    return {"model": judge, "messages": [{"role": "user", "content": f"Does caption {number} help?"}], **fields}


def said(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"]).lower()


@pytest.mark.parametrize("judge", JUDGES)
def test_a_constraint_changes_no_vote(judge: str) -> None:
    service = Service()
    for number in range(50):
        free = service.answer(judge, request(judge, number))
        for choices in (["yes", "no"], ["no", "yes"]):
            bound = service.answer(judge, request(judge, number, structured_outputs={"choice": choices}))
            assert said(bound) == said(free)
            assert service.seconds(bound["usage"]) == service.seconds(free["usage"]) > 0


def test_judges_agree_with_a_majority_view_as_often_as_stated() -> None:
    service = Service(agreement=0.8)
    votes = [[service.votes_yes(judge, str(number)) for judge in JUDGES] for number in range(4000)]
    # Two judges are of one mind when both agree with the majority view or neither does: 0.8 * 0.8 + 0.2 * 0.2.
    assert sum(first == second for first, second, *_ in votes) / len(votes) == pytest.approx(0.68, abs=0.03)
    assert sum(map(sum, votes)) / (len(votes) * len(JUDGES)) == pytest.approx(0.5, abs=0.03)


def test_another_seed_is_another_draw() -> None:
    prompts = [str(number) for number in range(50)]
    first, second = ([Service(seed=seed).votes_yes("judge", prompt) for prompt in prompts] for seed in (1, 2))
    assert first != second
