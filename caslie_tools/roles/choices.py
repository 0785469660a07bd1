"""Probabilities of a closed set of answers, out of the log-probabilities of one generated token."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

# What tokenizers write for white space around a token's text.
_BLANKS: Final = " \t\nĠĊ▁"
_LONGEST_START: Final = 8


def choice_starts(vocabulary: Mapping[str, int], choices: Sequence[str]) -> dict[int, str]:
    """Returns every token that a choice can begin with, by its number: its text without the white space.

    Args:
        vocabulary: A tokenizer's tokens and their numbers.
        choices: The closed set of answers.
    """
    texts = ((number, token.strip(_BLANKS)) for token, number in vocabulary.items())
    return {
        number: text
        for number, text in texts
        if 0 < len(text) <= _LONGEST_START and any(choice.casefold().startswith(text.casefold()) for choice in choices)
    }


def exact_choice_starts(vocabulary: Mapping[str, int], choices: Sequence[str]) -> dict[int, str]:
    """Returns every token that begins one choice, letter for letter, and no other, by its number: the choice.

    These are the tokens that a server's constraint lets through.

    Args:
        vocabulary: A tokenizer's tokens and their numbers.
        choices: The closed set of answers.
    """
    beginnings = [(choice[:length], choice) for choice in choices for length in range(1, len(choice) + 1)]
    return {
        vocabulary[text]: choice
        for text, choice in beginnings
        if text in vocabulary and sum(other.startswith(text) for other in choices) == 1
    }


def added_by_text(texts: Iterable[str], logprobs: Iterable[float]) -> dict[str, float]:
    """Adds up the probabilities of tokens with the same text; returns log-probabilities by text."""
    total: dict[str, float] = {}
    for text, logprob in zip(texts, logprobs, strict=True):
        if not math.isnan(logprob):
            total[text] = total.get(text, 0.0) + math.exp(logprob)
    return {text: math.log(mass) for text, mass in total.items() if mass > 0}


def choice_probabilities(choices: Sequence[str], top_logprobs: Mapping[str, float]) -> dict[str, float] | None:
    """Returns how likely each choice is among the choices, by the first token of each.

    A token counts for a choice it begins, in any case and with any white space before it, unless it begins another one
    as well. A choice that is not among the most likely tokens counts as the least likely of those listed, which is the
    most it can be.

    Args:
        choices: The closed set of answers, with different first letters.
        top_logprobs: The most likely first tokens and their log-probabilities.

    Returns:
        Probabilities that sum to 1, or ``None`` if no listed token begins any choice.
    """
    mass = dict.fromkeys(choices, 0.0)
    for token, logprob in top_logprobs.items():
        start = token.strip().casefold()
        begun = [choice for choice in choices if start and choice.casefold().startswith(start)]
        if len(begun) == 1:
            mass[begun[0]] += math.exp(min(logprob, 0.0))
    if not any(mass.values()):
        return None
    most = math.exp(min(0.0, *top_logprobs.values()))
    bounded = {choice: value or most for choice, value in mass.items()}
    total = sum(bounded.values())
    return {choice: value / total for choice, value in bounded.items()}
