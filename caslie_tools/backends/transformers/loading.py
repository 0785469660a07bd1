"""Loads a model and its tokenizer or processor from a folder or from the hub, without running code of the model.

Weights are read from safetensors files only. From the hub, only the needed files are downloaded, once, and then read
like any other folder. No code of the model's author, no pickle and no file converted by others is used.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from caslie_tools._optional import require
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.exceptions import CaslieError, MissingExtraError, ModelError

EXTRA: Final = "transformers"
_NEEDED_FILES: Final = ("*.json", "*.jinja", "*.txt", "*.model", "*.safetensors")
# Subfolders have exports for other programs. Consolidated files have the same weights a second time.
_IGNORED_FILES: Final = ("*/*", "consolidated*")

_loading = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model in memory, with everything that is needed to call it."""

    torch: Any
    model: Any
    tokenizer: Any
    processor: Any = None
    """Prepares text and images for a vision-language model; ``None`` for a text model."""


def require_extra(purpose: str) -> None:
    """Checks that the packages for models in this process are installed, without importing them.

    Args:
        purpose: What needs them, as the start of a sentence.

    Raises:
        MissingExtraError: If torch or transformers are not installed.
    """
    if any(find_spec(module) is None for module in ("torch", "transformers")):
        raise MissingExtraError(EXTRA, purpose)


def load_language_model(settings: TransformersSettings) -> LoadedModel:
    """Loads a model that generates text: a vision-language model if it is one, otherwise a text model.

    Raises:
        MissingExtraError: If torch or transformers are not installed.
        ModelError: If the model cannot be loaded. The message names the model and says what to do.
    """

    def load(transformers: Any, folder: Path, options: dict[str, Any]) -> tuple[Any, Any]:
        config = transformers.AutoConfig.from_pretrained(folder, **options)
        takes_images = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        preprocessor = transformers.AutoProcessor if takes_images else transformers.AutoTokenizer
        model_class = transformers.AutoModelForImageTextToText if takes_images else transformers.AutoModelForCausalLM
        return preprocessor.from_pretrained(folder, **options), model_class

    return _load(settings, load)


def load_encoder(settings: TransformersSettings) -> LoadedModel:
    """Loads a model that computes a vector for each token of a text.

    Raises:
        MissingExtraError: If torch or transformers are not installed.
        ModelError: If the model cannot be loaded.
    """

    def load(transformers: Any, folder: Path, options: dict[str, Any]) -> tuple[Any, Any]:
        return transformers.AutoTokenizer.from_pretrained(folder, **options), transformers.AutoModel

    return _load(settings, load)


def _load(
    settings: TransformersSettings, choose: Callable[[Any, Path, dict[str, Any]], tuple[Any, Any]]
) -> LoadedModel:
    purpose = f"Running {settings.model} in this process"
    torch = require("torch", EXTRA, purpose)
    transformers = require("transformers", EXTRA, purpose)
    device = _device(torch, settings)
    options = {"trust_remote_code": False, "local_files_only": True}
    try:
        folder = _folder(settings)
        with _loading, _quiet(transformers):  # one at a time, because loading takes more memory than the loaded model
            preprocessor, model_class = choose(transformers, folder, options)
            model, report = model_class.from_pretrained(
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
    except Exception as error:  # with a broken folder, these libraries can raise anything
        raise ModelError(f"the model {settings.identity} cannot be loaded: {_reason(error, device)}") from error
    tokenizer = getattr(preprocessor, "tokenizer", preprocessor)
    processor = None if tokenizer is preprocessor else preprocessor
    return LoadedModel(torch=torch, model=model, tokenizer=tokenizer, processor=processor)


def _folder(settings: TransformersSettings) -> Path:
    """Returns the model's folder. A model of the hub is downloaded first, unless it is in the local cache."""
    folder = Path(settings.model).expanduser()
    if folder.is_dir():
        return folder
    if settings.model.startswith(("/", ".", "~")) or settings.model.count("/") > 1:
        raise ModelError(f"the model {settings.model} cannot be loaded: there is no such folder; check the path")
    hub = require("huggingface_hub", EXTRA, f"Downloading {settings.model}")
    errors = require("huggingface_hub.errors", EXTRA, f"Downloading {settings.model}")
    try:
        downloaded = hub.snapshot_download(
            settings.model,
            revision=settings.revision,
            allow_patterns=list(_NEEDED_FILES),
            ignore_patterns=list(_IGNORED_FILES),
        )
    except Exception as error:  # noqa: BLE001 (of the client, its transport and the file system)
        # The message of the hub's client may contain a token or a signed URL, so only its type is shown.
        raise ModelError(
            f"the model {settings.identity} cannot be downloaded from the hub: {_hub_reason(error, errors)}"
        ) from None
    return Path(downloaded)


def _hub_reason(error: Exception, errors: Any) -> str:
    match error:
        case errors.GatedRepoError():
            return "you have to accept its terms; accept them on its page, then run `hf auth login`"
        case errors.RevisionNotFoundError():
            return "it has no such revision; check the name of the revision"
        case errors.RepositoryNotFoundError() | errors.HFValidationError():
            return "there is no such model, or you may not read it; check the name, or set the path of a folder"
    return (
        f"the hub cannot be reached ({type(error).__name__}), and the model was not downloaded before; check the "
        "connection, or set the path of a folder that has it"
    )


def _device(torch: Any, settings: TransformersSettings) -> str:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if settings.device == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if available[device])
    kind, _, number = settings.device.partition(":")
    if not available[kind] or (number and int(number) >= torch.cuda.device_count()):
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
    # transformers initialises missing weights at random without an error. An encoder's pooler is not used here.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ModelError(
            f"the model {settings.identity} cannot be loaded: {len(missing)} of its weights are missing in its files, "
            f"such as {missing[0]}; download it again, or use a model whose files are made for transformers"
        )


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether the memory of the device or of the machine ran out."""
    # On a processor, torch raises a plain RuntimeError.
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error).lower())


def _reason(error: Exception, device: str) -> str:
    if is_out_of_memory(error):
        return f"it does not fit into the memory of {device}; use a smaller model, another device or a smaller dtype"
    match error:
        case ImportError():
            needed = str(error).strip().partition("\n")[0]
            return f"it needs a package that is not installed ({needed}); install the package, or use another model"
        case OSError():
            return (
                "a file is missing or unreadable; the needed files are config.json, tokenizer.json and *.safetensors, "
                "not *.bin"
            )
        case KeyError() | ValueError():
            return (
                f"its files are unusable, or this version of transformers does not support it "
                f"({type(error).__name__}); download it again, update transformers, or use another model"
            )
    return f"its files are unusable ({type(error).__name__}); download it again, or use another model"


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Suppresses the progress bar and the report of transformers. Missing weights are reported by an error."""
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
