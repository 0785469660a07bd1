import pytest

from caslie_tools.backends.embedded.resemblance import resemblances, vote
from caslie_tools.domain import Product
from caslie_tools.store import CaptionStore, PictureHit
from tests.backends.embedded.conftest import put, sample_picture, sha


def hit(score: float, category: str, title: str = "a product") -> PictureHit:
    return PictureHit(
        image=sha(f"{score}{category}{title}"),
        score=score,
        products=(Product(id=title, title=title, category=category),),
    )


def test_several_neighbours_outvote_a_slightly_nearer_one() -> None:
    ranked = vote([hit(0.80, "Pears"), hit(0.79, "Apples", "one"), hit(0.785, "Apples", "two")])

    assert [item.category for item in ranked] == ["Apples", "Pears"]
    assert ranked[0].product == "one"
    assert sum(item.score for item in ranked) <= 1


def test_a_far_neighbour_is_hardly_believed() -> None:
    near, far = vote([hit(0.9, "Apples")])[0], vote([hit(0.2, "Apples")])[0]

    assert near.score > 0.8
    assert far.score < 0.1


def test_products_without_a_category_stand_for_themselves_and_nothing_resembles_nothing() -> None:
    assert vote([hit(0.8, "", "Granny Smith")])[0].category == "Granny Smith"
    assert vote([]) == ()


def test_the_picture_itself_and_its_products_other_pictures_do_not_count(store: CaptionStore) -> None:
    kelp, reed, pan = (sample_picture(name) for name in ("kelp-bottle", "reed-bottle", "forge-pan"))
    put(store, "kelp", kelp, pan, category="Kelp")
    put(store, "reed", reed, category="Reed")

    assert [item.category for item in resemblances(kelp, store)] == ["Reed", "Kelp"]
    assert [item.category for item in resemblances(kelp, store, product="kelp")] == ["Reed"]


def test_an_empty_store_resembles_nothing(store: CaptionStore) -> None:
    assert resemblances(sample_picture("kelp-bottle"), store) == ()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_vote_does_not_depend_on_the_order_of_equals(order: tuple[int, int]) -> None:
    hits = [hit(0.8, "A", "one"), hit(0.8, "B", "two")]

    assert [item.category for item in vote([hits[index] for index in order])] == ["A", "B"]
