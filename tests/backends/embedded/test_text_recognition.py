from PIL import Image

from caslie_tools.backends.embedded import TextReader
from caslie_tools.backends.embedded.text_recognition import normalise_line
from tests.backends.embedded.images import label


def test_the_lines_of_one_label_are_joined_and_have_a_score(reader: TextReader) -> None:
    (text,) = reader.read(label("WATERPROOF", "IP67").rgb())

    assert text.text == "WATERPROOF IP67"
    assert text.score > 0.9
    assert 0.02 < text.height < 0.3


def test_an_image_without_text_gives_no_text(reader: TextReader) -> None:
    assert reader.read(label().rgb()) == ()
    assert reader.read(Image.new("RGB", (3, 3), "white")) == ()


def test_text_in_a_large_image_is_recognised(reader: TextReader) -> None:
    image = label("APPLE JUICE").rgb().resize((3000, 3000))

    assert [text.text for text in reader.read(image)] == ["APPLE JUICE"]


def test_recognised_text_becomes_plain_text() -> None:
    assert normalise_line("WASH\x1b[31m\n30℃\u202e") == "WASH [31m 30°C"
    assert normalise_line("O") == ""
    assert normalise_line("福") == ""
    assert normalise_line("...") == ""
    assert len(normalise_line("x" * 500)) == 80
