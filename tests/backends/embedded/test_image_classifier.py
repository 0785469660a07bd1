from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from caslie_tools.backends.embedded import ImageClassifier
from caslie_tools.backends.embedded.image_classifier import class_names
from tests.backends.embedded.images import sample_image


def test_a_mug_is_classified_as_a_mug(classifier: ImageClassifier) -> None:
    classification = classifier.classify(sample_image("ember-mug"))

    assert class_names()[int(classification.probabilities.argmax())] == "coffee mug"
    assert classification.probabilities.sum() == pytest.approx(1, abs=1e-4)
    assert len(class_names()) == 1000


def test_similar_images_have_similar_vectors(classifier: ImageClassifier) -> None:
    kelp, reed, pan = classifier.embed_images(
        [sample_image(name) for name in ("kelp-bottle", "reed-bottle", "forge-pan")]
    )

    assert len(kelp) == 1280
    assert np.linalg.norm(kelp) == pytest.approx(1, abs=1e-5)
    assert np.dot(kelp, reed) > np.dot(kelp, pan) + 0.2


def test_several_threads_can_use_the_model(classifier: ImageClassifier) -> None:
    image = sample_image("ember-mug")
    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(lambda image: classifier.classify(image).vector, [image] * 4))

    assert all(np.array_equal(vector, vectors[0]) for vector in vectors)
