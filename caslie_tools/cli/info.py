"""``caslie info``: what is set, what is installed, what the store holds, and what is wrong with any of it."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from caslie_tools._version import __version__
from caslie_tools.exceptions import CaslieError, StoreNotFoundError
from caslie_tools.profiles.named import load_profile
from caslie_tools.profiles.profile import Profile
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore

_PACKAGES = ("langchain-core", "langgraph", "faiss-cpu", "pillow", "torch", "transformers", "rapidocr", "onnxruntime")


def describe(store: Path | None, profile: str | None) -> dict[str, Any]:
    """Returns the facts, as plain JSON values.

    A store that does not exist yet is ``None``. What cannot be used is listed under ``problems``: this is the command
    to run when something does not work.

    Raises:
        SettingsError: If a setting has a value it cannot have.
    """
    settings = Settings.load(store=store, profile=profile)
    facts: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in _PACKAGES},
        "settings": settings.model_dump(mode="json"),
        "profile": {"name": settings.profile},
        "store": None,
        "problems": [],
    }
    try:
        chosen = load_profile(settings.profile)
    except CaslieError as error:
        return facts | {"problems": [str(error)]}
    try:
        with CaptionStore.open(
            settings.store,
            chosen.embeddings,
            pictures=chosen.pictures,
            create=False,
            busy_timeout_seconds=settings.busy_timeout_seconds,
        ) as opened:
            return facts | {"profile": _profile(chosen, opened), "store": opened.stats().model_dump(mode="json")}
    except CaslieError as error:
        problems = [] if isinstance(error, StoreNotFoundError) else [str(error)]
    with CaptionStore.in_memory(chosen.embeddings, pictures=chosen.pictures) as empty:
        return facts | {"profile": _profile(chosen, empty), "problems": problems}


def _profile(profile: Profile, store: CaptionStore) -> dict[str, Any]:
    models = profile.models(store)
    return {
        "name": profile.name,
        "captioners": [captioner.get_name() for captioner in models.captioners],
        "judges": [judge.get_name() for judge in models.judges],
        "predictor": models.predictor.get_name(),
        "notes": list(profile.notes),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
