"""The settings of a tuning run."""

from pathlib import Path
from typing import Any

import pytest

from caslie_tools.exceptions import SettingsError
from caslie_tools.tuning.settings import load_settings

REQUIRED = {"base": "b", "data": "d", "out": "o"}


def test_missing_values_have_their_defaults() -> None:
    settings = load_settings(REQUIRED | {"rank": None, "tasks": [], "epochs": 2.0})
    assert (settings.out, settings.rank, settings.tasks, settings.epochs) == (Path("o"), 16, (), 2.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layout": "chatml"}, "tuning: the setting layout cannot be used: Input should be"),
        ({"epochs": 0}, "tuning: the setting epochs cannot be used: Input should be greater than 0"),
        ({"splits": ["val"]}, "tuning: the split val cannot be used for both tuning and validation"),
    ],
)
def test_invalid_settings_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(REQUIRED | given)
