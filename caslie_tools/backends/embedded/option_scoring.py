"""Scores the options of a question by the text of a product and the captions of its images.

The score is a conditional logit over eleven features. ``python benchmarks/gate.py --calibrate`` fitted the weights on
two sources that do not resemble each other, shelf photos of groceries and phone photos of clothes, with an empty and a
filled catalogue, and with titles of seven kinds: none, a word, an article number, advertising, another language, a
short name and a long text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from caslie_tools.backends.embedded.image_classifier import class_names
from caslie_tools.backends.embedded.phrases import phrases_in
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.domain import Caption

Array: TypeAlias = NDArray[np.float64]

WEIGHTS: Final = {
    "text meaning": 2.1,
    "text phrase": 2.8,
    "text name": 3.1,
    "text spelling": 3.8,
    "print meaning": 1.3,
    "print phrase": 2.1,
    "print spelling": 0.85,
    "packaged": 1.55,
    "tags": 2.6,
    "probable tags": 2.0,
    "resembles": 1.2,
}
"""The weight of each feature, in the order of :meth:`OptionScorer.features`. ``benchmarks/gate.py --calibrate`` fits
them.

The product's own text and every caption without evidence have the features of ``text`` each on its own, so that a title
that says nothing does not dilute what a caption says.
"""

FEATURES: Final = tuple(WEIGHTS)

_NAMED: Final = 4.0
"""A phrase names an option if its normalised cosine is above this, in standard deviations."""
_SPREAD: Final = 0.1
"""Scale of a normalised cosine. The cosines of each option are centred and scaled by its cosines with the 1000 class
names of the classifier. An option that is close to every text therefore has no advantage."""
_MIN_SPELLING_SIMILARITY: Final = 0.6
"""Spelling similarity from which two words count as related."""
_PACKAGED: Final = "packaged product in a carton, bottle or box with a printed label"
_LOOSE: Final = "loose item without packaging"
_LONG_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_TEMPERATURE: Final = 0.1
_FLOOR: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class ProductEvidence:
    """The available evidence about a product."""

    texts: tuple[str, ...] = ()
    """The product's own text, such as a title, and each caption without evidence."""
    printed: str = ""
    """Text printed on the product's images."""
    tags: tuple[tuple[str, float], ...] = ()
    """Classes of the images with their probabilities."""
    resembles: tuple[tuple[str, float], ...] = ()
    """Categories of similar products with their scores."""

    @classmethod
    def from_captions(cls, text: str, captions: Sequence[Caption]) -> "ProductEvidence":
        """Collects the evidence of captions.

        Args:
            text: The product's own text.
            captions: The captions that were kept. A caption without evidence contributes its text.
        """
        without_evidence = [caption.text for caption in captions if not caption.evidence]
        evidence = [item for caption in captions for item in caption.evidence]
        return cls(
            texts=tuple(stripped for part in (text, *without_evidence) if (stripped := part.strip())),
            printed=" ".join(item.text for item in evidence if item.kind == "text"),
            tags=tuple((item.text, item.score) for item in evidence if item.kind == "tag"),
            resembles=tuple((item.text, item.score) for item in evidence if item.kind == "resembles"),
        )


class OptionScorer:
    """Computes a probability for each option.

    Args:
        embeddings: Compares options with the evidence.
    """

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings
        self._background: Array | None = None

    def probabilities(self, evidence: ProductEvidence, options: Sequence[str]) -> list[float]:
        """Returns one probability per option. The probabilities sum to 1."""
        return softmax(self.features(evidence, options) @ np.array(list(WEIGHTS.values())))

    def features(self, evidence: ProductEvidence, options: Sequence[str]) -> Array:
        """Returns the features of each option, of shape (options, features)."""
        names = [leaf_category(option).lower() for option in options]
        vectors = self._encode(names)
        if self._background is None:
            self._background = self._encode([label.lower() for label in class_names()])
        background = self._background @ vectors.T
        mean, deviation = background.mean(0), background.std(0)

        def normalised_cosines(texts: Sequence[str]) -> Array:
            centred: Array = (self._encode([text.lower() for text in texts]) @ vectors.T - mean) / deviation * _SPREAD
            return centred

        def text_features(text: str) -> Array:
            meaning = normalised_cosines([text])[0]
            phrases = phrases_in(text)
            best = normalised_cosines(phrases).max(0) if phrases else np.zeros(len(options))
            spelling = [_spelling_similarity(name, text.lower()) for name in names]
            return np.stack([meaning, best, np.maximum(0.0, best - _NAMED * _SPREAD), spelling], axis=1)

        table = np.zeros((len(options), len(FEATURES)))
        for text in evidence.texts:
            table[:, :4] += text_features(text)
        if evidence.printed:
            table[:, 4:7] = text_features(evidence.printed)[:, [0, 1, 3]]
            packaged, loose = normalised_cosines([_PACKAGED, _LOOSE])
            table[:, 7] = packaged - loose
        if evidence.tags:
            weights = np.array([probability for _, probability in evidence.tags])
            weighted = weights @ normalised_cosines([tag for tag, _ in evidence.tags])
            table[:, 8] = weighted / weights.sum()
            table[:, 9] = weighted
        if evidence.resembles:
            cosines = vectors @ self._encode([leaf_category(category).lower() for category, _ in evidence.resembles]).T
            shares = np.exp((cosines - 1) / _TEMPERATURE) @ np.array([score for _, score in evidence.resembles])
            table[:, 10] = np.log(1 + shares / _FLOOR)
        return table

    def _encode(self, texts: Sequence[str]) -> Array:
        return self.embeddings.encode(texts).astype(np.float64)


def leaf_category(path: str) -> str:
    """Returns the last part of a category path such as ``Fruit > Apple``."""
    return path.rsplit(">", 1)[-1].strip() or path


def softmax(scores: Sequence[float] | Array) -> list[float]:
    """Returns the softmax of scores."""
    values = np.asarray(scores, dtype=np.float64)
    weights = np.exp(values - values.max())
    probabilities: list[float] = (weights / weights.sum()).tolist()
    return probabilities


def _spelling_similarity(option: str, text: str) -> float:
    """Returns the best spelling similarity of a word of the option and a word of the text, reduced to 0 to 0.4.

    For example, ``tomat`` on a Swedish label is similar to ``tomato``.
    """
    words = set(_LONG_WORD.findall(text))
    similarity = max(
        (_word_similarity(word, part) for word in words for part in _LONG_WORD.findall(option)),
        default=0.0,
    )
    return max(0.0, similarity - _MIN_SPELLING_SIMILARITY)


@lru_cache(maxsize=65536)
def _word_similarity(first: str, second: str) -> float:
    return SequenceMatcher(None, first, second).ratio()
