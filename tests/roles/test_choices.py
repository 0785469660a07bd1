import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.roles.choices import choice_probabilities


def logs(**probabilities: float) -> dict[str, float]:
    return {token: math.log(value) for token, value in probabilities.items()}


def test_a_probability_is_the_share_of_the_first_tokens() -> None:
    assert choice_probabilities(("yes", "no"), logs(yes=0.6, no=0.2, maybe=0.2)) == pytest.approx(
        {"yes": 0.75, "no": 0.25}
    )


def test_every_token_that_starts_a_choice_counts_for_it() -> None:
    tokens = {"yes": math.log(0.3), "ye": math.log(0.2), " Yes": math.log(0.1), "n": math.log(0.2)}
    assert choice_probabilities(("yes", "no"), tokens) == pytest.approx({"yes": 0.75, "no": 0.25})


def test_a_token_that_starts_two_choices_counts_for_neither() -> None:
    assert choice_probabilities(("nothing", "no"), logs(n=0.9)) is None


def test_a_choice_without_a_listed_token_counts_as_the_least_likely_token() -> None:
    assert choice_probabilities(("A", "B"), logs(A=0.8, x=0.1)) == pytest.approx({"A": 8 / 9, "B": 1 / 9})


def test_a_token_that_the_constraint_forbids_has_no_weight() -> None:
    assert choice_probabilities(("A", "B"), {"A": 0.0, "The": -9999.0}) == pytest.approx({"A": 1.0, "B": 0.0})


def test_without_listed_tokens_there_are_no_probabilities() -> None:
    assert choice_probabilities(("A", "B"), {}) is None


@given(st.dictionaries(st.text(max_size=4), st.floats(-1000, 5), max_size=8))
def test_probabilities_sum_to_one(tokens: dict[str, float]) -> None:
    probabilities = choice_probabilities(("yes", "no"), tokens)
    assert probabilities is None or (
        set(probabilities) == {"yes", "no"} and math.isclose(sum(probabilities.values()), 1)
    )
