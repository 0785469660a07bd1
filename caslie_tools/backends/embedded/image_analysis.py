"""Image analysis: the text, tags and colours of an image, independent of any question. The store caches the result."""

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import ValidationError

from caslie_tools.backends.embedded.colours import Colour, dominant_colours
from caslie_tools.backends.embedded.image_classifier import ImageClassifier, class_names
from caslie_tools.backends.embedded.text_recognition import PrintedText, TextReader
from caslie_tools.domain import FrozenModel, Probability
from caslie_tools.exceptions import StoreError
from caslie_tools.images.loading import LoadedImage

if TYPE_CHECKING:
    from caslie_tools.store import CaptionStore

_VERSION: Final = 2
_MAX_TAGS: Final = 5
_LOCKS: Final = 16


class Tag(FrozenModel):
    """A class of ImageNet-1k with its probability."""

    name: str
    probability: Probability


class ImageAnalysis(FrozenModel):
    """The text, tags and colours of an image."""

    text: tuple[PrintedText, ...] = ()
    tags: tuple[Tag, ...] = ()
    """The five most probable classes, even if their probabilities are low."""
    colours: tuple[Colour, ...] = ()


class ImageAnalyser:
    """Analyses images, each image once per store.

    Args:
        classifier: Classifies images.
        reader: Reads text.
        store: Caches the results. Without a store, nothing is cached.
    """

    def __init__(self, classifier: ImageClassifier, reader: TextReader, store: "CaptionStore | None" = None) -> None:
        self.classifier = classifier
        self.reader = reader
        self.store = store
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    @property
    def identity(self) -> str:
        """Identifies the models and the version of this module. Results with another identity are not reused."""
        return f"perception-{_VERSION}+{self.classifier.identity}+{self.reader.identity}"

    def analyse(self, image: LoadedImage) -> ImageAnalysis:
        """Returns the text, tags and colours of an image.

        Raises:
            MissingExtraError: The packages of the models are not installed.
            ModelError: The weights are not the published ones.
        """
        # An image always uses the same lock: it is analysed once, while other images run in parallel.
        with self._locks[int(image.sha256[:8], 16) % _LOCKS]:
            if (cached := self._cached(image.sha256)) is not None:
                return cached
            pixels = image.rgb()
            probabilities = self.classifier.classify(image).probabilities
            best = np.argsort(-probabilities, kind="stable")[:_MAX_TAGS]
            analysis = ImageAnalysis(
                text=self.reader.read(pixels),
                tags=tuple(Tag(name=class_names()[i], probability=float(probabilities[i])) for i in best),
                colours=dominant_colours(pixels),
            )
            if self.store is not None:
                # If the cache cannot be written, the only consequence is that the image is analysed again.
                with suppress(StoreError):
                    self.store.put_observation(image.sha256, self.identity, analysis.model_dump(mode="json"))
        return analysis

    def _cached(self, sha256: str) -> ImageAnalysis | None:
        if self.store is None or (cached := self.store.get_observation(sha256, self.identity)) is None:
            return None
        with suppress(ValidationError):
            return ImageAnalysis.model_validate(cached)
        return None
