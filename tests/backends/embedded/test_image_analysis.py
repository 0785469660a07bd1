from collections.abc import Mapping
from typing import Any

from caslie_tools.backends.embedded import ImageAnalyser, ImageClassifier, MiniLMEmbeddings, TextReader
from caslie_tools.exceptions import StoreError
from caslie_tools.store import CaptionStore
from tests.backends.embedded.images import label, sample_image


def test_the_analysis_contains_text_tags_and_colours(classifier: ImageClassifier, reader: TextReader) -> None:
    analysis = ImageAnalyser(classifier, reader).analyse(sample_image("ember-mug"))

    assert [text.text for text in analysis.text] == ["DISHWASHER SAFE"]
    assert analysis.tags[0].name == "coffee mug"
    assert [tag.probability for tag in analysis.tags] == sorted(
        (tag.probability for tag in analysis.tags), reverse=True
    )
    assert analysis.colours[0].name == "yellow"


def test_an_image_is_analysed_once_per_store(
    classifier: ImageClassifier, reader: TextReader, store: CaptionStore
) -> None:
    image = label("IP67")
    analyser = ImageAnalyser(classifier, reader, store)
    analysis = analyser.analyse(image)

    cached = store.get_observation(image.sha256, analyser.identity)
    assert cached == analysis.model_dump(mode="json")
    # A second analysis would recognise the text, so this result comes from the cache.
    changed = analysis.model_copy(update={"text": ()})
    store.put_observation(image.sha256, analyser.identity, changed.model_dump(mode="json"))
    assert analyser.analyse(image) == changed


def test_results_of_other_models_and_invalid_results_are_not_reused(
    classifier: ImageClassifier, reader: TextReader, store: CaptionStore
) -> None:
    image = label("IP67")
    analyser = ImageAnalyser(classifier, reader, store)
    strict = ImageAnalyser(classifier, TextReader(min_score=0.999999), store)
    assert strict.identity != analyser.identity

    store.put_observation(image.sha256, analyser.identity, {"text": "not a list"})
    assert analyser.analyse(image).text[0].text == "IP67"


class FullStore(CaptionStore):
    """A store that cannot write observations."""

    def put_observation(self, image: str, observer: str, value: Mapping[str, Any]) -> None:
        raise StoreError("the disk is full")


def test_an_image_is_analysed_even_if_the_result_cannot_be_cached(
    classifier: ImageClassifier, reader: TextReader, embeddings: MiniLMEmbeddings
) -> None:
    with FullStore.in_memory(embeddings) as store:
        assert ImageAnalyser(classifier, reader, store).analyse(label("TWO LAMPS")).text
