"""A model on a thread of its own: loaded when it is first needed, asked one thing at a time."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from caslie_tools._concurrency import ConcurrencyLimit
from caslie_tools.backends.transformers.loading import Loaded, is_out_of_memory
from caslie_tools.exceptions import CaslieError, ModelError

T = TypeVar("T")
Work = Callable[[Loaded, threading.Event], T]
"""Something to do with the loaded model, which it stops doing soon after the event is set."""


class ModelWorker(Generic[T]):
    """Runs what is asked of one model, in turn: several calls of one model at once gain nothing.

    Args:
        identity: The model's name, for messages.
        load: Loads it. It is tried again at the next call if it fails, and goes on if the caller gives up meanwhile.
    """

    def __init__(self, identity: str, load: Callable[[], Loaded]) -> None:
        self._identity = identity
        self._load = load
        self._loaded: Loaded | None = None
        self._turn = ConcurrencyLimit(1)  # fair between the requesters of one event loop
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="caslie-model")

    async def run(self, work: Work[T]) -> T:
        """Runs ``work`` on the model's thread. If the caller is cancelled, so is the work.

        Raises:
            MissingExtraError: If what loads the model is not installed.
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
        except Exception as error:  # whatever a model's code, or its chat template, raises
            reason = (
                "memory ran out; lower max_side or context_length, or take a smaller model"
                if is_out_of_memory(error)
                else f"{type(error).__name__}; check that it is an instruct model that transformers supports"
            )
            raise ModelError(f"the model {self._identity} failed: {reason}") from error
