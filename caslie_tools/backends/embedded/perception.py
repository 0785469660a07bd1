"""What is seen in a picture, before any question: text, tags and colours. Looked at once, remembered in the store."""

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import ValidationError

from caslie_tools.backends.embedded.colours import Colour, dominant_colours
from caslie_tools.backends.embedded.ocr import PrintedText, TextReader
from caslie_tools.backends.embedded.pictures import EfficientNetPictures, class_names
from caslie_tools.domain import FrozenModel, Probability
from caslie_tools.exceptions import StoreError
from caslie_tools.images.loading import LoadedImage

if TYPE_CHECKING:
    from caslie_tools.store import CaptionStore

_VERSION: Final = 1
_TAGS: Final = 5
_LOCKS: Final = 16


class Tag(FrozenModel):
    """A class of ImageNet-1k and how likely it is."""

    name: str
    probability: Probability


class Perception(FrozenModel):
    """What is seen in a picture."""

    text: tuple[PrintedText, ...] = ()
    tags: tuple[Tag, ...] = ()
    """The five most likely, however unlikely they are."""
    colours: tuple[Colour, ...] = ()


class Perceiver:
    """Looks at pictures, each only once per store.

    Args:
        pictures: The classifier.
        reader: The text reader.
        store: Where to remember what was seen; without one nothing is.
    """

    def __init__(self, pictures: EfficientNetPictures, reader: TextReader, store: "CaptionStore | None" = None) -> None:
        self.pictures = pictures
        self.reader = reader
        self.store = store
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    @property
    def identity(self) -> str:
        """Names the models and this module's own version: what was seen by others is looked at again."""
        return f"perception-{_VERSION}+{self.pictures.identity}+{self.reader.identity}"

    def perceive(self, image: LoadedImage) -> Perception:
        """Returns what is seen in a picture.

        Raises:
            MissingExtraError: If the packages of the models are not installed.
            ModelError: If the weights are not the published ones.
        """
        # A picture has always the same lock, so that it is looked at once, while others are looked at side by side.
        with self._locks[int(image.sha256[:8], 16) % _LOCKS]:
            if (known := self._recall(image.sha256)) is not None:
                return known
            picture = image.rgb()
            probabilities = self.pictures.see(image).probabilities
            best = np.argsort(-probabilities, kind="stable")[:_TAGS]
            seen = Perception(
                text=self.reader.read(picture),
                tags=tuple(Tag(name=class_names()[i], probability=float(probabilities[i])) for i in best),
                colours=dominant_colours(picture),
            )
            if self.store is not None:
                # A cache that cannot be written costs time and nothing else.
                with suppress(StoreError):
                    self.store.put_observation(image.sha256, self.identity, seen.model_dump(mode="json"))
        return seen

    def _recall(self, image: str) -> Perception | None:
        if self.store is None or (known := self.store.get_observation(image, self.identity)) is None:
            return None
        with suppress(ValidationError):
            return Perception.model_validate(known)
        return None
