"""How likely two products are of one kind: from their titles, and from what was seen in their images.

Each source counts as far as it says anything about both products. Two products about which nothing is known are neither
alike nor different.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from caslie_tools.backends.embedded.informativeness import Informativeness
from caslie_tools.backends.embedded.option_scoring import leaf_category
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.domain import Caption

Array: TypeAlias = NDArray[np.float64]

WEIGHTS: Final = (10.8, -5.2, 5.9, -4.0)
"""Weights of :meth:`ProductSimilarity.features`, a logistic regression. ``python benchmarks/gate.py --calibrate`` fits
them on pairs of products of one kind and of different kinds, with titles of seven kinds, with and without captions."""

_RESEMBLES_WEIGHT: Final = 2.0
_PRINT_WEIGHT: Final = 0.25
_FULL_WEIGHT: Final = 0.3
"""Length of the sum of the evidence from which an image counts fully."""


class ProductSimilarity:
    """Compares two products.

    Args:
        embeddings: Compares titles and evidence.
    """

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings
        self.informativeness = Informativeness(embeddings)

    def log_odds(self, titles: tuple[str, str], captions: tuple[Sequence[Caption], Sequence[Caption]]) -> float:
        """Returns the logit of the probability that two products are of one kind; 0 if nothing is known.

        Args:
            titles: The title of each product.
            captions: The kept captions of each product.
        """
        return float(self.features(titles, captions) @ np.array(WEIGHTS))

    def features(self, titles: tuple[str, str], captions: tuple[Sequence[Caption], Sequence[Caption]]) -> Array:
        """Returns the cosine of the titles and how much they say, and the same of what was seen in the images."""
        found = np.zeros(len(WEIGHTS))
        names = [self.informativeness.of(title) for title in titles]
        if all(names):
            first, second = self._encode([title.lower() for title in titles])
            found[:2] = names[0] * names[1] * np.array([float(first @ second), 1.0])
        (one, weight_one), (two, weight_two) = (self._seen(each) for each in captions)
        if weight_one and weight_two:
            found[2:] = weight_one * weight_two * np.array([float(one @ two), 1.0])
        return found

    def vector(self, title: str, captions: Sequence[Caption]) -> Array:
        """Returns a vector of what is known about a product, at most 1 long; shorter if little is known."""
        known = self.informativeness.of(title)
        seen, weight = self._seen(captions)
        total = np.zeros(self._encode([""]).shape[1])
        if known:
            total += known * self._encode([title.lower()])[0]
        if weight:
            total += weight * seen
        return total / max(1.0, float(np.linalg.norm(total)))

    def _seen(self, captions: Sequence[Caption]) -> tuple[Array, float]:
        """Returns a unit vector of what captions say about a product, and how much they say, from 0 to 1."""
        weighted: list[tuple[str, float]] = []
        for caption in captions:
            if not caption.evidence and caption.text.strip():
                weighted.append((caption.text, 1.0))
            weighted += [(item.text, item.score) for item in caption.evidence if item.kind == "tag"]
            weighted += [
                (leaf_category(item.text), _RESEMBLES_WEIGHT * item.score)
                for item in caption.evidence
                if item.kind == "resembles"
            ]
            if printed := " ".join(item.text for item in caption.evidence if item.kind == "text"):
                weighted.append((printed, _PRINT_WEIGHT))
        if not weighted:
            return np.zeros(1), 0.0
        total = np.array([weight for _, weight in weighted]) @ self._encode([text.lower() for text, _ in weighted])
        length = float(np.linalg.norm(total))
        return (total / length, min(1.0, length / _FULL_WEIGHT)) if length else (np.zeros(1), 0.0)

    def _encode(self, texts: Sequence[str]) -> Array:
        return self.embeddings.encode(texts).astype(np.float64)
