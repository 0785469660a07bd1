"""A bound on a share that holds for any distribution and any number of samples.

The samples are independent losses between 0 and 1. The p-value for "the mean loss is above a limit" is exact for losses
that are 0 or 1 (binomial). For other losses it is that of Hoeffding and Bentkus: Bates, Angelopoulos, Lei, Malik and
Jordan, "Distribution-free, risk-controlling prediction sets", Journal of the ACM 2021, section 3.1.
"""

import math
from typing import Final

from caslie_tools._optional import require

_STEPS: Final = 50
"""Halvings of the interval that a bound is searched in."""


def p_value(total: float, count: int, limit: float, *, binary: bool) -> float:
    """Returns the probability of so small losses, or a bound on it, if the mean loss is above a limit.

    Args:
        total: The sum of the losses.
        count: Number of losses.
        limit: The limit on the mean loss, between 0 and 1.
        binary: Whether a loss can only be 0 or 1. This must be known without looking at the losses.

    Raises:
        MissingExtraError: If scipy is not installed.
    """
    binomial = require("scipy.stats", "evaluation", "A bound").binom
    whole = math.ceil(round(total, 9))  # a sum of fractions such as 1/3 may be slightly above a whole number
    exact = float(binomial.cdf(whole, count, limit))
    if binary:
        return exact
    return min(1.0, math.exp(-count * _divergence(min(total / count, limit), limit)), math.e * exact)


def upper_bound(total: float, count: int, confidence: float, *, binary: bool) -> float:
    """Returns the smallest limit that the mean loss is below at a confidence level. See :func:`p_value`."""
    low, high = min(1.0, total / count), 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if p_value(total, count, middle, binary=binary) <= 1 - confidence:
            high = middle
        else:
            low = middle
    return high


def least_count(limit: float, confidence: float) -> int:
    """Returns how many losses are needed to show that the mean is at most a limit, if all of them are 0."""
    return math.ceil(math.log(1 - confidence) / math.log1p(-limit))


def _divergence(share: float, limit: float) -> float:
    """Returns the Kullback-Leibler divergence of two shares."""
    return sum(
        seen * math.log(seen / expected) for seen, expected in ((share, limit), (1 - share, 1 - limit)) if seen > 0
    )
