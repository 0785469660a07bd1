"""Loads a model and its tokenizer or processor, from a folder or from the hub; nothing that comes with them is run.

Weights are read from safetensors files only. From the hub just the files needed are fetched, once, and then read as any
other folder: no code of a model's author, no pickle, no conversion by a third party comes into it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from caslie_tools._optional import require
from caslie_tools._torch import use_all_threads
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.exceptions import CaslieError, MissingExtraError, ModelError

EXTRA: Final = "local"
_WANTED: Final = ("*.json", "*.jinja", "*.txt", "*.model", "*.safetensors")
# Folders hold exports for other programs; a consolidated file holds the same weights once more.
_UNWANTED: Final = ("*/*", "consolidated*")

_loading = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that is ready to be called."""

    torch: Any
    model: Any
    tokenizer: Any
    processor: Any = None
    """Prepares text and images, for a model that sees; it has the tokenizer."""


def require_local_extra(purpose: str) -> None:
    """Makes sure that models can run in this process, without importing anything.

    Args:
        purpose: What is about to be done, as the start of a sentence.

    Raises:
        MissingExtraError: If torch or transformers are not installed.
    """
    if any(find_spec(module) is None for module in ("torch", "transformers")):
        raise MissingExtraError(EXTRA, purpose)


def load_language_model(settings: TransformersSettings) -> LoadedModel:
    """Loads a model that writes: one that sees images, if it can, else one of text.

    Raises:
        MissingExtraError: If torch or transformers are not installed.
        ModelError: If it cannot be loaded; the message names it and says what to do.
    """

    def load(transformers: Any, folder: Path, options: dict[str, Any]) -> tuple[Any, Any]:
        config = transformers.AutoConfig.from_pretrained(folder, **options)
        sees = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        reader = transformers.AutoProcessor if sees else transformers.AutoTokenizer
        maker = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
        return reader.from_pretrained(folder, **options), maker

    return _load(settings, load)


def load_encoder(settings: TransformersSettings) -> LoadedModel:
    """Loads a model that turns each token of a text into a vector; the errors are those above."""

    def load(transformers: Any, folder: Path, options: dict[str, Any]) -> tuple[Any, Any]:
        return transformers.AutoTokenizer.from_pretrained(folder, **options), transformers.AutoModel

    return _load(settings, load)


def _load(
    settings: TransformersSettings, choose: Callable[[Any, Path, dict[str, Any]], tuple[Any, Any]]
) -> LoadedModel:
    purpose = f"Running {settings.model} in this process"
    torch = require("torch", EXTRA, purpose)
    transformers = require("transformers", EXTRA, purpose)
    use_all_threads(torch)
    device = _device(torch, settings)
    options = {"trust_remote_code": False, "local_files_only": True}
    try:
        folder = _folder(settings)
        with _loading, _quiet(transformers):  # one at a time: a model that is being loaded takes the most memory
            reader, maker = choose(transformers, folder, options)
            model, report = maker.from_pretrained(
                folder,
                use_safetensors=True,
                dtype=_dtype(torch, settings, device),
                output_loading_info=True,
                **options,
            )
            _require_all_weights(settings, report)
            model = model.to(device).eval()
    except CaslieError:
        raise
    except Exception as error:  # a broken folder makes these libraries raise nearly anything
        raise ModelError(f"the model {settings.identity} cannot be loaded: {_reason(error, device)}") from error
    tokenizer = getattr(reader, "tokenizer", reader)
    return LoadedModel(torch=torch, model=model, tokenizer=tokenizer, processor=None if tokenizer is reader else reader)


def _folder(settings: TransformersSettings) -> Path:
    """Returns the folder a model lies in, after fetching it from the hub where it is a hub's name."""
    folder = Path(settings.model).expanduser()
    if folder.is_dir():
        return folder
    if settings.model.startswith(("/", ".", "~")) or settings.model.count("/") > 1:
        raise ModelError(f"the model {settings.model} cannot be loaded: there is no such folder; check the path")
    hub = require("huggingface_hub", EXTRA, f"Fetching {settings.model}")
    errors = require("huggingface_hub.errors", EXTRA, f"Fetching {settings.model}")
    try:
        fetched = hub.snapshot_download(
            settings.model, revision=settings.revision, allow_patterns=list(_WANTED), ignore_patterns=list(_UNWANTED)
        )
    except Exception as error:  # noqa: BLE001 (of the client, its transport and the file system)
        # What the hub's client says may hold a token or a signed address: its kind is enough.
        raise ModelError(
            f"the model {settings.identity} cannot be fetched from the hub: {_hub_reason(error, errors)}"
        ) from None
    return Path(fetched)


def _hub_reason(error: Exception, errors: Any) -> str:
    match error:
        case errors.GatedRepoError():
            return "its owner gives it to those who agree to the terms; agree on its page, then `hf auth login`"
        case errors.RevisionNotFoundError():
            return "it has no such revision"
        case errors.RepositoryNotFoundError() | errors.HFValidationError():
            return "there is no such model, or it is not yours to read; check the name, or name a folder that exists"
    return (
        f"the hub cannot be reached ({type(error).__name__}), and it has not been fetched before; check the "
        "connection, or name a folder that has it"
    )


def _device(torch: Any, settings: TransformersSettings) -> str:
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if settings.device == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if has[device])
    kind, _, number = settings.device.partition(":")
    if not has[kind] or (number and int(number) >= torch.cuda.device_count()):
        raise ModelError(
            f"the model {settings.identity} cannot be loaded: torch finds no {settings.device} on this machine; "
            "set its device to auto"
        )
    return settings.device


def _dtype(torch: Any, settings: TransformersSettings, device: str) -> Any:
    if settings.dtype != "auto":
        return getattr(torch, settings.dtype)
    return torch.float32 if device == "cpu" else "auto"


def _require_all_weights(settings: TransformersSettings, report: dict[str, Any]) -> None:
    # transformers makes up what is missing, at random, and goes on. Nothing here uses an encoder's pooler.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ModelError(
            f"the model {settings.identity} cannot be loaded: {len(missing)} of its weights are not in its files, such "
            f"as {missing[0]}; fetch it again, or take one whose files are meant for transformers"
        )


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, of the device or of the machine."""
    # On a processor, torch raises a RuntimeError like any other.
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error).lower())


def _reason(error: Exception, device: str) -> str:
    if is_out_of_memory(error):
        return f"it does not fit the memory of {device}; take a smaller one, another device or a smaller dtype"
    match error:
        case ImportError():
            needed = str(error).strip().partition("\n")[0]
            return f"it needs a package that is not installed ({needed}); install that, or take another model"
        case OSError():
            return "a file is missing or unreadable; it takes config.json, tokenizer.json and *.safetensors, no *.bin"
        case KeyError() | ValueError():
            return (
                f"its files are unusable, or this version of transformers does not know its kind "
                f"({type(error).__name__}); fetch it again, update transformers, or take another model"
            )
    return f"its files are unusable ({type(error).__name__}); fetch it again, or take another model"


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the bar and the report that transformers prints: what is wrong with the weights is told by an error."""
    log = transformers.utils.logging
    verbosity, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bar:
            log.enable_progress_bar()
