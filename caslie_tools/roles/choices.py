"""Computes the probabilities of a closed set of answers from the log-probabilities of the first generated token."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

# How tokenizers represent white space in a token.
_WHITE_SPACE: Final = " \t\nĠĊ▁"
_MAX_START_LENGTH: Final = 8


def choice_starts(vocabulary: Mapping[str, int], choices: Sequence[str]) -> dict[int, str]:
    """Maps the id of every token that a choice can begin with, in any case, to the token's text without white space.

    Args:
        vocabulary: A tokenizer's tokens and their ids.
        choices: The closed set of answers.
    """
    folded = [choice.casefold() for choice in choices]
    texts = ((token_id, token.strip(_WHITE_SPACE)) for token, token_id in vocabulary.items())
    return {
        token_id: text
        for token_id, text in texts
        if 0 < len(text) <= _MAX_START_LENGTH and any(choice.startswith(text.casefold()) for choice in folded)
    }


def exact_choice_starts(vocabulary: Mapping[str, int], choices: Sequence[str]) -> dict[int, str]:
    """Maps the id of every token that is the start of exactly one choice to that choice.

    A server that is constrained to the choices allows exactly these tokens.

    Args:
        vocabulary: A tokenizer's tokens and their ids.
        choices: The closed set of answers.
    """
    starts = [(choice[:length], choice) for choice in choices for length in range(1, len(choice) + 1)]
    return {
        vocabulary[text]: choice
        for text, choice in starts
        if text in vocabulary and sum(other.startswith(text) for other in choices) == 1
    }


def sum_by_text(texts: Iterable[str], logprobs: Iterable[float]) -> dict[str, float]:
    """Adds the probabilities of tokens with the same text and returns the log-probability of each text."""
    total: dict[str, float] = {}
    for text, logprob in zip(texts, logprobs, strict=True):
        if not math.isnan(logprob):
            total[text] = total.get(text, 0.0) + math.exp(logprob)
    return {text: math.log(mass) for text, mass in total.items() if mass > 0}


def choice_probabilities(choices: Sequence[str], top_logprobs: Mapping[str, float]) -> dict[str, float] | None:
    """Returns the probability of each choice, relative to the other choices, from the first token of the response.

    A token counts for a choice if it is the start of this choice and of no other, in any case and with any white space
    before it. A choice without a listed token gets the probability of the least likely listed token, which is the upper
    bound for a token that is not listed.

    Args:
        choices: The closed set of answers, each with a different first letter.
        top_logprobs: The most likely first tokens and their log-probabilities.

    Returns:
        Probabilities that sum to 1, or ``None`` if no listed token is the start of a choice.
    """
    mass = dict.fromkeys(choices, 0.0)
    for token, logprob in top_logprobs.items():
        start = token.strip().casefold()
        matches = [choice for choice in choices if start and choice.casefold().startswith(start)]
        if len(matches) == 1:
            mass[matches[0]] += math.exp(min(logprob, 0.0))
    if not any(mass.values()):
        return None
    upper_bound = math.exp(min(0.0, *top_logprobs.values()))
    bounded = {choice: value or upper_bound for choice, value in mass.items()}
    total = sum(bounded.values())
    return {choice: value / total for choice, value in bounded.items()}
