"""Formats figures and lists for reports."""

from collections.abc import Sequence

from caslie_tools.evaluation.significance import Interval


def format_number(value: float, *, sign: bool = False) -> str:
    """Returns a number with two decimals, such as ``0.71`` or, with ``sign``, ``+0.02``."""
    rounded = round(value, 2) + 0.0  # turns -0.00 into 0.00
    return f"{rounded:+.2f}" if sign else f"{rounded:.2f}"


def format_interval(interval: Interval, *, sign: bool = False) -> str:
    """Returns an interval, such as ``0.66 to 0.76``."""
    return f"{format_number(interval.low, sign=sign)} to {format_number(interval.high, sign=sign)}"


def format_p_value(value: float) -> str:
    """Returns a p-value with three decimals, or ``under 0.001``."""
    return f"{value:.3f}" if value >= 0.001 else "under 0.001"


def join_names(names: Sequence[str]) -> str:
    """Returns names as a list in a sentence: ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
