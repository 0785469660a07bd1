"""A model on its own thread: it is loaded at the first call and runs one call at a time."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

from caslie_tools._concurrency import ConcurrencyLimit
from caslie_tools.backends.transformers.loading import LoadedModel, is_out_of_memory, load_language_model
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.exceptions import CaslieError, ModelError

T = TypeVar("T")
Work = Callable[[LoadedModel, threading.Event], T]
"""A computation with the loaded model. It stops soon after the event is set."""


class ModelWorker:
    """Runs computations on one model, in turn: running several at once would not be faster.

    Args:
        identity: The model's name, for messages.
        load: Loads the model at the first call. If loading fails, the next call tries again. If the caller is cancelled
            during loading, loading continues.
    """

    def __init__(self, identity: str, load: Callable[[], LoadedModel]) -> None:
        self._identity = identity
        self._load = load
        self._loaded: LoadedModel | None = None
        self._turn = ConcurrencyLimit(1)  # fair between the requesters of one event loop
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="caslie-model")

    async def run(self, work: Work[T]) -> T:
        """Runs ``work`` on the model's thread. Cancelling the caller stops the work.

        Raises:
            MissingExtraError: If torch or transformers are not installed.
            ModelError: If the model cannot be loaded, or fails.
        """
        stop = threading.Event()
        async with self._turn():
            try:
                return await asyncio.wrap_future(self._thread.submit(self._run, work, stop))
            except asyncio.CancelledError:
                stop.set()
                raise

    def _run(self, work: Work[T], stop: threading.Event) -> T:
        if self._loaded is None:
            self._loaded = self._load()
        try:
            return work(self._loaded, stop)
        except CaslieError:
            raise
        except Exception as error:  # a model's code and its chat template can raise anything
            reason = (
                "memory ran out; lower max_side or context_length, or take a smaller model"
                if is_out_of_memory(error)
                else f"{type(error).__name__}; check that it is an instruct model that transformers supports"
            )
            raise ModelError(f"the model {self._identity} failed: {reason}") from error


_shared: WeakValueDictionary[tuple[str | None, ...], ModelWorker] = WeakValueDictionary()
_sharing = threading.Lock()


def shared_worker(settings: TransformersSettings) -> ModelWorker:
    """Returns the worker of a language model; roles with the same model, revision, device and dtype share it.

    The model is unloaded when the last role that uses it is deleted.
    """
    key = (settings.model, settings.revision, settings.device, settings.dtype)
    with _sharing:
        worker = _shared.get(key)
        if worker is None:
            worker = _shared[key] = ModelWorker(settings.identity, lambda: load_language_model(settings))
        return worker
