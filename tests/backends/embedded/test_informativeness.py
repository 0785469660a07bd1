import pytest

from caslie_tools.backends.embedded import MiniLMEmbeddings
from caslie_tools.backends.embedded.informativeness import Informativeness
from caslie_tools.backends.embedded.phrases import phrases_in
from caslie_tools.backends.embedded.product_similarity import ProductSimilarity
from caslie_tools.domain import Caption, Evidence, QueryContext


@pytest.fixture(scope="module")
def informativeness(embeddings: MiniLMEmbeddings) -> Informativeness:
    return Informativeness(embeddings)


@pytest.mark.parametrize(
    "title", ["Oak table", "Trail running shoes, blue", "Cordless drill 18 V", "Save 20% on lamps"]
)
def test_a_name_of_a_thing_says_what_the_product_is(informativeness: Informativeness, title: str) -> None:
    assert informativeness.of(title) > 0.5


@pytest.mark.parametrize("title", ["", "10007", "Ref. 55-1204", "XJ550", "Only this week", "Big discounts", "!!!"])
def test_numbers_and_advertising_say_nothing(informativeness: Informativeness, title: str) -> None:
    assert informativeness.of(title) < 0.5


def test_phrases_have_one_to_three_words() -> None:
    assert phrases_in("Red T-shirt, new") == ["red", "t-shirt", "new", "red t-shirt", "t-shirt new", "red t-shirt new"]
    assert phrases_in(" ... ") == []


def caption(*tags: str) -> Caption:
    evidence = tuple(Evidence(kind="tag", text=tag, score=0.9) for tag in tags)
    return Caption.given("It shows something.", QueryContext(task="any")).model_copy(update={"evidence": evidence})


def test_products_about_which_nothing_is_known_are_neither_alike_nor_different(embeddings: MiniLMEmbeddings) -> None:
    similarity = ProductSimilarity(embeddings)
    assert similarity.log_odds(("", ""), ([], [])) == 0
    assert abs(similarity.log_odds(("SKU 1", "SKU 2"), ([], []))) < 0.1
    assert similarity.log_odds(("", ""), ([caption("jersey")], [])) == 0


def test_titles_and_captions_tell_whether_products_are_alike(embeddings: MiniLMEmbeddings) -> None:
    similarity = ProductSimilarity(embeddings)
    assert similarity.log_odds(("Electric kettle", "Stainless steel kettle"), ([], [])) > 0
    assert similarity.log_odds(("Electric kettle", "Running shoes"), ([], [])) < 0
    assert similarity.log_odds(("SKU 1", "SKU 2"), ([caption("teapot")], [caption("teapot")])) > 0
    assert similarity.log_odds(("SKU 1", "SKU 2"), ([caption("teapot")], [caption("running shoe")])) < 0
