"""``caslie info``: versions, settings, models and the store, with their problems."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

from caslie_tools._version import __version__
from caslie_tools.cli.console import out, plain
from caslie_tools.cli.options import AsJson, ProfileName, Store
from caslie_tools.cli.runner import FAILED, OK, Document

if TYPE_CHECKING:
    from caslie_tools.profiles.profile import Profile
    from caslie_tools.settings import Settings
    from caslie_tools.store import CaptionStore

_PACKAGES = ("langchain-core", "langgraph", "faiss-cpu", "pillow", "torch", "transformers", "rapidocr", "onnxruntime")


def info(store: Store = None, profile: ProfileName = None, as_json: AsJson = False) -> tuple[Document, int] | int:
    """Show versions, settings, models and the size of the store, and report problems.

    Start here if another command fails. A profile or store that cannot be used is listed as a problem, and the exit
    code is 1.
    """
    from caslie_tools.settings import Settings

    settings = Settings.load(store=store, profile=profile)
    facts: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in _PACKAGES},
        "settings": settings.model_dump(mode="json"),
        "profile": {"name": settings.profile},
        "store": None,
        "problems": [],
    } | _inspect(settings)
    code = FAILED if facts["problems"] else OK
    if as_json:
        return facts, code
    _show(facts)
    return code


def _inspect(settings: "Settings") -> dict[str, Any]:
    """Returns the facts about the profile and the store, and the problems found."""
    from caslie_tools.exceptions import CaslieError, StoreNotFoundError
    from caslie_tools.profiles.named import load_profile
    from caslie_tools.store import CaptionStore

    try:
        profile = load_profile(settings.profile)
    except CaslieError as error:
        return {"problems": [str(error)]}
    try:
        with CaptionStore.open(
            settings.store,
            profile.embeddings,
            image_embeddings=profile.image_embeddings,
            create=False,
            busy_timeout_seconds=settings.busy_timeout_seconds,
        ) as store:
            return {"profile": _describe_profile(profile, store), "store": store.stats().model_dump(mode="json")}
    except StoreNotFoundError:
        problems = []  # a store that does not exist yet is no problem
    except CaslieError as error:
        problems = [str(error)]
    with CaptionStore.in_memory(profile.embeddings, image_embeddings=profile.image_embeddings) as empty:
        return {"profile": _describe_profile(profile, empty), "problems": problems}


def _describe_profile(profile: "Profile", store: "CaptionStore") -> dict[str, Any]:
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
        return installed_version(package)
    except PackageNotFoundError:
        return None


def _show(facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            out.print(f"[bold]{plain(name)}[/bold]")
            for key, item in value.items():
                out.print(f"  {plain(key)}: {plain(_text(item))}", soft_wrap=True)
        elif name == "problems":
            for problem in value:
                out.print(f"[bold red]problem[/bold red]: {plain(problem)}", soft_wrap=True)
        else:
            out.print(f"[bold]{plain(name)}[/bold]: {plain(_text(value))}", soft_wrap=True)


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_text(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
