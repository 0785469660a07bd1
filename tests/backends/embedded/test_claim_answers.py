"""Yes/no questions: only a stated claim is confirmed, and only a stated contrary is denied."""

import pytest

from caslie_tools.backends.embedded import EmbeddedPredictor
from caslie_tools.backends.embedded.questions.claims import Claim, parse_absence, stated
from tests.backends.embedded.asking import product, said

SOUP = product(
    "soup", title="Lentil soup", category="Food > Soups", price=3.5, allergens="celery",
    description="Vegetarian soup without gluten. May contain traces of mustard. Goes well with cream. Not for the "
    "microwave. No added sugar.",
)  # fmt: skip


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Is it vegetarian?", "Yes. "), ("Is it vegan?", ""), ("Is it gluten free?", "Yes. "),
        ("Does it contain gluten?", "No. "), ("Ist die Suppe glutenfrei?", "Ja. "), ("Est-elle sans gluten ?", "Oui. "),
        ("Does it contain mustard?", "Lentil soup: May contain"), ("Does it contain cream?", ""),
        ("Does it contain celery?", "Yes. "), ("Is it celery free?", ""), ("Can I put it in the microwave?", "No. "),
        ("Is it sugar free?", ""), ("Does it contain sugar?", ""), ("Does it have added sugar?", "No. "),
        ("Is it cheaper than 5?", "Yes. "), ("Is it more expensive than 4?", "No. "), ("Is it organic?", ""),
        ("Is it halal?", ""), ("Is it spicy or mild?", ""), ("Is the lid recyclable?", ""), ("Is it good?", ""),
    ],
)  # fmt: skip
async def test_a_claim_is_answered_only_by_itself(predictor: EmbeddedPredictor, question: str, expected: str) -> None:
    answer = await said(predictor, question, SOUP)

    assert answer.startswith(expected)
    assert bool(expected) is bool(answer)


@pytest.mark.parametrize(
    ("question", "caption", "expected"),
    [
        ("Is it decaf?", 'It reads "DECAFFEINATED".', "Yes."),
        ("Is it decaf?", 'It reads "DARK ROAST".', ""),
        ("Is it caffeine free?", 'It reads "CAFFEINE", "FREE".', "Yes."),
        ("Is it waterproof?", 'It reads "IPX6".', 'Jar: "IPX6".'),
        ("Is it waterproof?", "It is mostly blue.", ""),
        ("Is it blue?", "It is mostly blue.", "Yes."),
        ("Is it green?", "It is mostly blue.", "No."),
        ("Does it come with a lid?", 'It reads "LID".', ""),
        ("Does it come with a lid?", 'It reads "LID INCLUDED".', "Yes."),
    ],
)
async def test_a_claim_is_read_from_print(
    predictor: EmbeddedPredictor, question: str, caption: str, expected: str
) -> None:
    answer = await said(predictor, question, product("jar", title="Jar"), jar=caption)

    assert answer.startswith(expected)
    assert bool(expected) is bool(answer)


async def test_a_column_of_truth_values_answers(predictor: EmbeddedPredictor) -> None:
    mug = product("mug", title="Mug", dishwasher_safe="no", stackable=True)

    assert await said(predictor, "Is it dishwasher safe?", mug) == "No. Mug: no."
    assert (await said(predictor, "Is it stackable?", mug)).startswith("Yes.")


async def test_shares_belong_to_their_own_material(predictor: EmbeddedPredictor) -> None:
    coat = product("coat", title="Wool-blend coat", fabric="62% wool, 38% polyester")

    assert await said(predictor, "Is it 100% wool?", coat) == ""
    assert (await said(predictor, "Is it 62% wool?", coat)).startswith("Yes.")
    assert await said(predictor, "Is it 62% polyester?", coat) == ""


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Nut-free bar", "yes"), ("Free from milk and nuts.", "yes"), ("Ohne Nuts", "yes"),
        ("Contains milk and nuts", "no"), ("A nutty taste", "nothing"), ("No added nuts", "nothing"),
    ],
)  # fmt: skip
def test_freedom_from_a_substance_has_many_spellings(text: str, verdict: str) -> None:
    pattern, rest = parse_absence("Is it nuts free?")

    assert stated(Claim(absent=f"{pattern}|nut"), text) == verdict
    assert "nuts" not in rest


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Suitable for outdoor use", "yes"), ("Not for outdoor use", "no"),
        ("Never use it near outdoor pools", "unclear"),
        ("For indoor use", "nothing"), ("May be used in outdoor areas", "perhaps"),
    ],
)  # fmt: skip
def test_a_negation_turns_a_statement(text: str, verdict: str) -> None:
    assert stated(Claim(words=("outdoor",)), text) == verdict
