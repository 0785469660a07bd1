import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.backends.embedded.quantities import contradicts, quantities


@pytest.mark.parametrize(
    ("first", "second"), [("750 ml", "0.75 l"), ("750ml", "75 cl"), ("1,5 L", "1500 ml"), ("2 kW", "2000 watts")]
)
def test_equal_quantities_in_different_units_are_the_same(first: str, second: str) -> None:
    assert quantities(first)[0].same(quantities(second)[0])


@pytest.mark.parametrize(
    ("first", "second"), [("750 ml", "500 ml"), ("20 W", "20 V"), ("1 l", "1 kg"), ("65 W", "6.5 W")]
)
def test_different_numbers_or_dimensions_are_not_the_same(first: str, second: str) -> None:
    assert not quantities(first)[0].same(quantities(second)[0])


def test_a_number_without_a_unit_or_inside_a_word_is_not_a_quantity() -> None:
    assert quantities("model 750, B12 mg5l, 3 lamps") == ()


def test_another_quantity_of_the_same_dimension_contradicts() -> None:
    assert contradicts("Which bottle holds 750 ml?", "REED 500 ml")
    assert not contradicts("Which bottle holds 750 ml?", "KELP 0.75 l")
    assert not contradicts("Which bottle holds 750 ml?", "weighs 150 g")
    assert not contradicts("How much does it hold?", "REED 500 ml")


@given(st.text(max_size=200))
def test_a_text_never_contradicts_itself(text: str) -> None:
    assert not contradicts(text, text)
