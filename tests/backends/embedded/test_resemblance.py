import pytest
from PIL import Image

from caslie_tools.backends.embedded.resemblance import find_resemblances, vote
from caslie_tools.domain import Product
from caslie_tools.store import CaptionStore, PictureHit
from tests.backends.embedded.images import loaded, put, sample_image, sha


def hit(score: float, category: str, title: str = "a product") -> PictureHit:
    return PictureHit(
        image=sha(f"{score}{category}{title}"),
        score=score,
        products=(Product(id=title, title=title, category=category),),
    )


def test_several_neighbours_outvote_a_slightly_nearer_neighbour() -> None:
    ranked = vote([hit(0.80, "Pears"), hit(0.79, "Apples", "one"), hit(0.785, "Apples", "two")])

    assert [item.category for item in ranked] == ["Apples", "Pears"]
    assert ranked[0].product == "one"
    assert sum(item.score for item in ranked) <= 1


def test_a_distant_neighbour_has_a_low_score() -> None:
    near, far = vote([hit(0.9, "Apples")])[0], vote([hit(0.2, "Apples")])[0]

    assert near.score > 0.8
    assert far.score < 0.1


def test_a_product_without_a_category_is_named_by_its_title() -> None:
    assert vote([hit(0.8, "", "Granny Smith")])[0].category == "Granny Smith"


def test_a_vote_without_neighbours_is_empty() -> None:
    assert vote([]) == ()


def test_the_image_itself_and_other_images_of_its_product_do_not_count(store: CaptionStore) -> None:
    kelp, reed, pan = (sample_image(name) for name in ("kelp-bottle", "reed-bottle", "forge-pan"))
    put(store, "kelp", kelp, pan, category="Kelp")
    put(store, "reed", reed, category="Reed")

    assert [item.category for item in find_resemblances(kelp, store)] == ["Reed", "Kelp"]
    assert [item.category for item in find_resemblances(kelp, store, product="kelp")] == ["Reed"]


def test_an_empty_store_gives_no_resemblances(store: CaptionStore) -> None:
    assert find_resemblances(sample_image("kelp-bottle"), store) == ()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_vote_does_not_depend_on_the_order_of_equal_neighbours(order: tuple[int, int]) -> None:
    hits = [hit(0.8, "A", "one"), hit(0.8, "B", "two")]

    assert [item.category for item in vote([hits[index] for index in order])] == ["A", "B"]


def test_a_picture_of_another_kind_resembles_nothing(store: CaptionStore) -> None:
    noise = Image.effect_noise((200, 200), 90).convert("RGB")
    put(store, "shears", sample_image("fern-shears"), category="Tools")

    assert find_resemblances(loaded(noise), store) == ()
