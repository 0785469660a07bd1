"""A vote as a number, for gates that weigh votes."""

import math
from typing import Annotated, Final

from pydantic import Field

from caslie_tools.domain import Vote

_MAX_PROBABILITY: Final = 0.99
"""A higher probability is treated as this one. Otherwise a single judge could outvote any jury."""

# Limited, so that no sum of weights overflows.
Weight = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


def log_odds(vote: Vote) -> float:
    """Returns a vote as a number: above 0 for yes, below 0 for no, 0 for an abstention.

    The number is the logit of P(yes), limited to ±4.6. If the judge reports no probability, it is ±1.
    """
    if vote.verdict == "abstain":
        return 0.0
    if vote.probability is None:
        return 1.0 if vote.verdict == "yes" else -1.0
    probability = min(max(vote.probability, 1 - _MAX_PROBABILITY), _MAX_PROBABILITY)
    return math.log(probability / (1 - probability))
