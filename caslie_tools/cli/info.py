"""``caslie info``: what is set, what is installed, what the store holds."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from caslie_tools._version import __version__
from caslie_tools.caslie import Caslie
from caslie_tools.exceptions import StoreNotFoundError
from caslie_tools.settings import Settings

_PACKAGES = ("langchain-core", "langgraph", "faiss-cpu", "pillow", "torch", "transformers", "rapidocr", "onnxruntime")


def describe(store: Path | None, profile: str | None) -> dict[str, Any]:
    """Returns the facts, as plain JSON values; a store that does not exist yet is no error.

    Raises:
        SettingsError: If a setting or the profile cannot be used.
        StoreError: If the store cannot be opened.
    """
    settings = Settings.load(store=store, profile=profile)
    facts: dict[str, Any] = {"version": __version__, "python": platform.python_version(), "packages": _packages()}
    facts["settings"] = settings.model_dump(mode="json")
    try:
        with Caslie.open(settings=settings, create=False) as caslie:
            facts["profile"] = {
                "name": caslie.profile.name,
                "captioners": ", ".join(caslie.sight.ec3.identities),
                "judges": ", ".join(judge.get_name() for judge in caslie.sight.cqe.judges),
                "predictor": caslie.sight.unim3.predictor.get_name(),
            }
            facts["notes"] = list(caslie.profile.notes)
            facts["store"] = caslie.store.stats().model_dump(mode="json")
    except StoreNotFoundError:
        facts["profile"] = {"name": settings.profile}
        facts["store"] = "none yet: caslie index makes one"
    return facts


def _packages() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
