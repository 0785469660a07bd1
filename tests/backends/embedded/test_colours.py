import pytest
from PIL import Image, ImageDraw

from caslie_tools.backends.embedded.colours import COLOUR_NAMES, dominant_colours
from caslie_tools.sample import draw
from tests.backends.embedded.conftest import sample_picture


def on_white(colour: str, *, ground: str = "#ffffff") -> Image.Image:
    picture = Image.new("RGB", (200, 200), ground)
    ImageDraw.Draw(picture).ellipse((50, 50, 150, 150), fill=colour)
    return picture


@pytest.mark.parametrize("name", sorted(set(draw.COLOURS) - {"grey"}))
def test_every_colour_of_the_sample_catalogue_has_its_name(name: str) -> None:
    found = dominant_colours(on_white(draw.COLOURS[name]))

    assert found[0].name == name
    assert found[0].share > 0.9


def test_the_background_does_not_count() -> None:
    assert [colour.name for colour in dominant_colours(on_white("#c63a32", ground="#2c66b0"))] == ["red"]


def test_a_picture_all_of_one_colour_has_that_colour() -> None:
    assert [colour.name for colour in dominant_colours(Image.new("RGB", (40, 40), "#ecc13c"))] == ["yellow"]


def test_shares_are_ordered_and_do_not_exceed_the_whole() -> None:
    picture = on_white("#3c8a53")
    ImageDraw.Draw(picture).rectangle((90, 90, 110, 110), fill="#c63a32")
    found = dominant_colours(picture)

    shares = [colour.share for colour in found]
    assert shares == sorted(shares, reverse=True)
    assert found[0].name == "green"
    assert sum(colour.share for colour in found) <= 1 + 1e-9
    assert {colour.name for colour in found} <= COLOUR_NAMES


@pytest.mark.parametrize("name", ["wool-beanie", "studio-headphones", "pebble-bottle", "fern-shears"])
def test_an_outline_in_place_of_a_picture_has_no_colour(name: str) -> None:
    assert dominant_colours(sample_picture(name).rgb()) == ()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (500, 3)])
def test_tiny_and_narrow_pictures_are_no_error(size: tuple[int, int]) -> None:
    assert dominant_colours(Image.new("RGB", size, "#c63a32"))[0].name == "red"
