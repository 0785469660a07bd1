from caslie_tools.backends.embedded import EfficientNetPictures, Perceiver, TextReader
from caslie_tools.backends.embedded.ocr import _clean
from caslie_tools.store import CaptionStore
from tests.backends.embedded.conftest import label, put, sample_picture


def test_text_tags_and_colours_are_seen(pictures: EfficientNetPictures, reader: TextReader) -> None:
    seen = Perceiver(pictures, reader).perceive(sample_picture("ember-mug"))

    assert [text.text for text in seen.text] == ["DISHWASHER SAFE"]
    assert seen.tags[0].name == "coffee mug"
    assert [tag.probability for tag in seen.tags] == sorted((tag.probability for tag in seen.tags), reverse=True)
    assert seen.colours[0].name == "yellow"


def test_a_picture_is_looked_at_once_per_store(
    pictures: EfficientNetPictures, reader: TextReader, store: CaptionStore
) -> None:
    image = label("IP67")
    perceiver = Perceiver(pictures, reader, store)
    seen = perceiver.perceive(image)

    remembered = store.get_observation(image.sha256, perceiver.identity)
    assert remembered == seen.model_dump(mode="json")
    # What is remembered is believed: a second look would not read this.
    changed = seen.model_copy(update={"text": ()})
    store.put_observation(image.sha256, perceiver.identity, changed.model_dump(mode="json"))
    assert perceiver.perceive(image) == changed


def test_what_other_models_saw_or_cannot_be_read_is_looked_at_again(
    pictures: EfficientNetPictures, reader: TextReader, store: CaptionStore
) -> None:
    image = label("IP67")
    perceiver = Perceiver(pictures, reader, store)
    strict = Perceiver(pictures, TextReader(min_score=0.999999), store)
    assert strict.identity != perceiver.identity

    store.put_observation(image.sha256, perceiver.identity, {"text": "no list"})
    assert perceiver.perceive(image).text[0].text == "IP67"


def test_a_closed_store_costs_no_picture(
    pictures: EfficientNetPictures, reader: TextReader, store: CaptionStore
) -> None:
    put(store, "one", label("ONE"))
    assert Perceiver(pictures, reader, store).perceive(label("TWO LAMPS")).text


def test_text_of_a_picture_becomes_plain_text() -> None:
    assert _clean("WASH\x1b[31m\n30℃\u202e") == "WASH [31m 30°C"
    assert _clean("O") == ""
    assert _clean("福") == ""
    assert _clean("...") == ""
    assert len(_clean("x" * 500)) == 80
