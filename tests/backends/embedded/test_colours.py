import pytest
from PIL import Image, ImageDraw

from caslie_tools.backends.embedded.colours import COLOUR_NAMES, dominant_colours
from caslie_tools.sample import draw
from tests.backends.embedded.images import sample_image


def circle(colour: str, *, background: str = "#ffffff") -> Image.Image:
    image = Image.new("RGB", (200, 200), background)
    ImageDraw.Draw(image).ellipse((50, 50, 150, 150), fill=colour)
    return image


@pytest.mark.parametrize("name", sorted(set(draw.COLOURS) - {"grey"}))
def test_each_colour_of_the_sample_catalogue_is_recognised(name: str) -> None:
    found = dominant_colours(circle(draw.COLOURS[name]))

    assert found[0].name == name
    assert found[0].share > 0.9


def test_the_background_does_not_count() -> None:
    assert [colour.name for colour in dominant_colours(circle("#c63a32", background="#2c66b0"))] == ["red"]


def test_an_image_of_a_single_colour_has_that_colour() -> None:
    assert [colour.name for colour in dominant_colours(Image.new("RGB", (40, 40), "#ecc13c"))] == ["yellow"]


def test_shares_are_sorted_and_sum_to_at_most_one() -> None:
    image = circle("#3c8a53")
    ImageDraw.Draw(image).rectangle((90, 90, 110, 110), fill="#c63a32")
    found = dominant_colours(image)

    shares = [colour.share for colour in found]
    assert shares == sorted(shares, reverse=True)
    assert found[0].name == "green"
    assert sum(colour.share for colour in found) <= 1 + 1e-9
    assert {colour.name for colour in found} <= COLOUR_NAMES


@pytest.mark.parametrize("name", ["wool-beanie", "studio-headphones", "pebble-bottle", "fern-shears"])
def test_a_placeholder_outline_has_no_colour(name: str) -> None:
    assert dominant_colours(sample_image(name).rgb()) == ()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (500, 3)])
def test_tiny_and_narrow_images_have_colours(size: tuple[int, int]) -> None:
    assert dominant_colours(Image.new("RGB", size, "#c63a32"))[0].name == "red"
