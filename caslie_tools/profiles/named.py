"""Loads a profile by its name, by the path of its file, or by the function that returns it."""

import importlib
from collections.abc import Callable
from functools import partial

from caslie_tools.exceptions import CaslieError, SettingsError
from caslie_tools.profiles.profile import Profile


def _embedded() -> Profile:
    from caslie_tools.profiles.embedded import embedded_profile

    return embedded_profile()


def _self_hosted(name_or_path: str) -> Profile:
    from caslie_tools.profiles.building import build_profile
    from caslie_tools.profiles.toml import load_profile_settings

    return build_profile(load_profile_settings(name_or_path))


def _chat() -> Profile:
    from caslie_tools.profiles.chat import chat_profile

    return chat_profile()


PROFILES: dict[str, Callable[[], Profile]] = {
    "embedded": _embedded,
    "chat": _chat,
    "caslie-l": partial(_self_hosted, "caslie-l"),
    "caslie-m": partial(_self_hosted, "caslie-m"),
    "caslie-s-24gb": partial(_self_hosted, "caslie-s-24gb"),
    "local-hf": partial(_self_hosted, "local-hf"),
    "paper": partial(_self_hosted, "paper"),
}
"""The profiles that come with the package.

The models of ``embedded`` and ``local-hf`` run in this process, those of ``chat`` wherever LangChain reaches them. The
models of the others run on your own servers.
"""


def load_profile(name: str) -> Profile:
    """Loads a profile.

    Args:
        name: The name of a shipped profile, the path of a ``.toml`` file, or ``module:function``.

    Raises:
        SettingsError: If there is no such profile, or if it cannot be imported.
        MissingExtraError: If an extra that the profile needs is not installed.
    """
    if name in PROFILES:
        return PROFILES[name]()
    if name.endswith(".toml"):
        return _self_hosted(name)
    module, _, function = name.partition(":")
    if not function:
        raise SettingsError(
            f"there is no profile {name!r}; choose one of {', '.join(PROFILES)}, "
            "the path of a .toml file, or module:function"
        )
    try:
        profile = getattr(importlib.import_module(module), function)()
    except CaslieError:
        raise
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SettingsError(f"the profile {name!r} cannot be imported: {error}") from error
    if not isinstance(profile, Profile):
        raise SettingsError(f"the profile {name!r} is a {type(profile).__name__}, not a caslie_tools Profile")
    return profile
