"""Chooses among options by clues: what is written about the product and what its captions say.

A conditional logit over a handful of features. Its weights were fitted on the calibration half of the shelf photos,
with an empty and a filled catalogue: ``python benchmarks/grocery.py --calibrate``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from caslie_tools.backends.embedded.pictures import class_names
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.domain import Caption

Array: TypeAlias = NDArray[np.float64]

FEATURES: Final = ("text meaning", "text words", "print meaning", "print words", "packaged", "tags", "resembles")
"""In the order of :meth:`OptionScorer.features`."""
WEIGHTS: Final = (5.0, 4.2, 2.6, 2.1, 3.1, 5.5, 1.6)

_SPREAD: Final = 0.1
"""Cosines are centred and scaled per option, by those of the classifier's own 1000 labels: an option that is near to
everything is no better for it."""
_LEAST_LIKENESS: Final = 0.6
"""Likeness of spelling below which two words have nothing in common."""
_PACKAGED: Final = "packaged product in a carton, bottle or box with a printed label"
_LOOSE: Final = "loose item without packaging"
_LONG_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_NEAR: Final = 0.1
_FLOOR: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class Clues:
    """What is known of the product an option is to be chosen for."""

    text: str = ""
    """Its own text, such as a title, and captions whose evidence is not known."""
    printed: str = ""
    tags: tuple[tuple[str, float], ...] = ()
    resembles: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, text: str, captions: Sequence[Caption]) -> "Clues":
        """Collects the clues of kept captions: from their evidence where they have it, else from their words."""
        told = [caption.text for caption in captions if not caption.evidence]
        evidence = [item for caption in captions for item in caption.evidence]
        return cls(
            text=" ".join(part for part in (text.strip(), *told) if part),
            printed=" ".join(item.text for item in evidence if item.kind == "text"),
            tags=tuple((item.text, item.score) for item in evidence if item.kind == "tag"),
            resembles=tuple((item.text, item.score) for item in evidence if item.kind == "resembles"),
        )


class OptionScorer:
    """Gives every option a probability.

    Args:
        embeddings: Compares options with clues.
    """

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings
        self._background: Array | None = None

    def probabilities(self, clues: Clues, options: Sequence[str]) -> list[float]:
        """Returns one probability per option, summing to 1."""
        return softmax(self.features(clues, options) @ np.array(WEIGHTS))

    def features(self, clues: Clues, options: Sequence[str]) -> Array:
        """Returns an array of shape (options, features)."""
        names = [leaf(option).lower() for option in options]
        vectors = self._encode(names)
        if self._background is None:
            self._background = self._encode([label.lower() for label in class_names()])
        background = self._background @ vectors.T
        mean, deviation = background.mean(0), background.std(0)

        def near(texts: Sequence[str]) -> Array:
            centred: Array = (self._encode([text.lower() for text in texts]) @ vectors.T - mean) / deviation * _SPREAD
            return centred

        table = np.zeros((len(options), len(FEATURES)))
        for column, text in ((0, clues.text), (2, clues.printed)):
            if text:
                table[:, column] = near([text])[0]
                table[:, column + 1] = [_spelt_alike(name, text.lower()) for name in names]
        if clues.printed:
            packaged, loose = near([_PACKAGED, _LOOSE])
            table[:, 4] = packaged - loose
        if clues.tags:
            weights = np.array([probability for _, probability in clues.tags])
            table[:, 5] = weights @ near([tag for tag, _ in clues.tags]) / weights.sum()
        if clues.resembles:
            likeness = vectors @ self._encode([leaf(category).lower() for category, _ in clues.resembles]).T
            shares = np.exp((likeness - 1) / _NEAR) @ np.array([score for _, score in clues.resembles])
            table[:, 6] = np.log(1 + shares / _FLOOR)
        return table

    def _encode(self, texts: Sequence[str]) -> Array:
        return self.embeddings.encode(texts).astype(np.float64)


def leaf(path: str) -> str:
    """Returns the last part of a category such as ``Fruit > Apple``."""
    return path.rsplit(">", 1)[-1].strip() or path


def softmax(scores: Sequence[float] | Array) -> list[float]:
    """Returns probabilities that sum to 1."""
    values = np.asarray(scores, dtype=np.float64)
    weights = np.exp(values - values.max())
    probabilities: list[float] = (weights / weights.sum()).tolist()
    return probabilities


def _spelt_alike(option: str, text: str) -> float:
    """Likeness of spelling, 0 to 0.4, of an option's best word in a text: ``tomat`` on a Swedish label is a tomato."""
    words = set(_LONG_WORD.findall(text))
    likeness = max(
        (SequenceMatcher(None, word, part).ratio() for word in words for part in _LONG_WORD.findall(option)),
        default=0.0,
    )
    return max(0.0, likeness - _LEAST_LIKENESS)
