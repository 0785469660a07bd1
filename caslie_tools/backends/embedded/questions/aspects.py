"""Aspects: the words of a question that are not the product itself, such as the strap in "how wide is the strap?"."""

from collections.abc import Iterable
from typing import Final

from caslie_tools.backends.embedded.questions.claims import contains_stem
from caslie_tools.backends.embedded.questions.facts import Fact, ProductFacts
from caslie_tools.backends.embedded.questions.languages import WHOLE, language_of
from caslie_tools.backends.embedded.questions.understanding import Question
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings

_SAME_THING: Final = 0.5
"""Cosine from which a word names the product: "dress" and "Robe Lila, Clothing / Dresses"."""


class Aspects:
    """Finds the words of a question that a fact must contain to answer it.

    Args:
        embeddings: Compares words with the product's name and kind.
    """

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings

    def of(self, question: Question, product: ProductFacts) -> tuple[str, ...]:
        """Returns the words that name a part or a side of the product, and not the product itself."""
        words = [
            word
            for word in question.words
            if word not in WHOLE and not any(contains_stem(word, own) for own in product.words)
        ]
        return tuple(word for word in words if not self._names(word, product))

    def _names(self, word: str, product: ProductFacts) -> bool:
        names = [name for name in (product.title, product.kind) if name]
        if not names:
            return False
        vectors = self.embeddings.encode([word, *names])
        return bool((vectors[1:] @ vectors[0]).max() >= _SAME_THING)


def is_foreign(question: Question, product: ProductFacts) -> bool:
    """Whether a question is in another language than the product's texts."""
    text = " ".join(fact.citation.quote for fact in product.of("sentence")) or product.title
    return question.language != language_of(text)


def covers(fact: Fact, words: Iterable[str]) -> bool:
    """Whether a fact, with the name of its field, contains all of some words."""
    text = f"{fact.field.replace('_', ' ')}: {fact.citation.quote}" if fact.kind == "field" else fact.citation.quote
    return all(contains_stem(word, text, printed=fact.kind == "label", in_compounds=True) for word in words)


def share(fact: Fact, words: Iterable[str]) -> float:
    """Returns the share of some words that a fact contains, 1 if there are none."""
    found = [covers(fact, [word]) for word in words]
    return sum(found) / len(found) if found else 1.0
