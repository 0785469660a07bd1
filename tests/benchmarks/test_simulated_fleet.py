"""The simulated judges: a constraint does not change their votes, and they agree with the stated probability."""

from typing import Any

import pytest
from simulated_fleet import Service

JUDGES = [f"judge-{number}" for number in range(5)]


def request(judge: str, number: int, **fields: Any) -> dict[str, Any]:
    return {"model": judge, "messages": [{"role": "user", "content": f"Does caption {number} help?"}], **fields}


def vote(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"]).lower()


@pytest.mark.parametrize("judge", JUDGES)
def test_a_constraint_does_not_change_a_vote(judge: str) -> None:
    service = Service()
    for number in range(50):
        free = service.answer(judge, request(judge, number))
        for choices in (["yes", "no"], ["no", "yes"]):
            constrained = service.answer(judge, request(judge, number, structured_outputs={"choice": choices}))
            assert vote(constrained) == vote(free)
            assert service.seconds(constrained["usage"]) == service.seconds(free["usage"]) > 0


def test_judges_agree_with_the_majority_view_with_the_stated_probability() -> None:
    service = Service(agreement=0.8)
    votes = [[service.votes_yes(judge, str(number)) for judge in JUDGES] for number in range(4000)]
    # Two judges vote alike if both agree with the majority view or neither does: 0.8 * 0.8 + 0.2 * 0.2 = 0.68.
    assert sum(first == second for first, second, *_ in votes) / len(votes) == pytest.approx(0.68, abs=0.03)
    assert sum(map(sum, votes)) / (len(votes) * len(JUDGES)) == pytest.approx(0.5, abs=0.03)


def test_another_seed_gives_other_votes() -> None:
    prompts = [str(number) for number in range(50)]
    first, second = ([Service(seed=seed).votes_yes("judge", prompt) for prompt in prompts] for seed in (1, 2))
    assert first != second
