"""How well a text supports an answer to a question: by words, by the expected kind of answer, and by meaning."""

import re
from typing import Final

from caslie_tools.backends.embedded.answer_kinds import expected_kinds, kinds_in
from caslie_tools.backends.embedded.quantities import contradicts, quantities
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.backends.embedded.words import content_words, coverage

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")
_AMBIGUOUS_KINDS: Final = frozenset({"time", "text"})
_AMBIGUOUS_LENGTH: Final = re.compile(r"\b(?:how (?:long|big|large)|size)\b", re.IGNORECASE)
_MAX_LENGTH: Final = 300
"""Number of characters of a sentence that count."""


def support(embeddings: MiniLMEmbeddings, question: str, text: str) -> float:
    """Returns how well the best sentence of a text answers a question. The range is about 0 to 1."""
    flat = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    sentences = [sentence[:_MAX_LENGTH] for sentence in _SENTENCE_END.split(flat) if sentence]
    if not sentences:
        return 0.0
    words, expected, asked = content_words(question), expected_kinds(question), bool(quantities(question))
    # These kinds are too ambiguous to answer alone: "how long" may ask for a length or a duration.
    ambiguous = _AMBIGUOUS_KINDS | (
        frozenset({"length", "volume"}) if _AMBIGUOUS_LENGTH.search(question) else frozenset()
    )
    cosines = embeddings.encode(sentences) @ embeddings.encode([question])[0]
    scores = []
    for sentence, cosine in zip(sentences, cosines.tolist(), strict=True):
        kinds = expected & kinds_in(sentence)
        wrong = contradicts(question, sentence) or (asked and not kinds)
        bonus = 0.5 if kinds - ambiguous else 0.3 if kinds else 0.0
        scores.append(0.45 * coverage(words, sentence) + bonus + 0.4 * max(0.0, cosine) - (1.0 if wrong else 0.0))
    return float(max(scores))
