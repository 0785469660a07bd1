"""Profiles by name: which models take which role."""

import importlib
from collections.abc import Callable

from caslie_tools.exceptions import CaslieError, SettingsError
from caslie_tools.roles import Profile


def _embedded() -> Profile:
    from caslie_tools.embedded import embedded_profile

    return embedded_profile()


PROFILES: dict[str, Callable[[], Profile]] = {"embedded": _embedded}
"""The profiles that come with the package."""


def load_profile(name: str) -> Profile:
    """Returns a profile by its name, or by ``module:function`` for one of your own.

    Raises:
        SettingsError: If there is no such profile, or it cannot be imported.
        MissingExtraError: If its optional dependencies are not installed.
    """
    if name in PROFILES:
        return PROFILES[name]()
    module, _, function = name.partition(":")
    if not function:
        raise SettingsError(f"there is no profile {name!r}; choose one of {', '.join(PROFILES)}, or module:function")
    try:
        profile = getattr(importlib.import_module(module), function)()
    except CaslieError:
        raise
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SettingsError(f"the profile {name!r} cannot be imported: {error}") from error
    if not isinstance(profile, Profile):
        raise SettingsError(f"the profile {name!r} is a {type(profile).__name__}, not a caslie_tools Profile")
    return profile
