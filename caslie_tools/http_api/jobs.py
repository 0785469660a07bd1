"""Indexing in the background: one job at a time, with progress. An interrupted job goes on when it is started again."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from caslie_tools.catalogue.reports import IndexReport
from caslie_tools.domain import FrozenModel, ProgressCallback
from caslie_tools.exceptions import CaslieError
from caslie_tools.http_api.errors import Refused

_KEPT: Final = 20
"""Finished jobs that can still be asked for."""


class Job(FrozenModel):
    """The state of a job."""

    id: str
    state: Literal["running", "done", "failed", "cancelled"] = "running"
    step: str = ""
    """What is done now: ``reading`` or ``captioning``."""
    done: int = 0
    """Products that are finished in this step."""
    total: int = 0
    """Products of the step."""
    report: IndexReport | None = None
    """The result of a job that is done. Its ``failed`` lists what could not be indexed."""
    error: str = ""
    """Why a job failed."""


class IndexJobs:
    """The index jobs of one server."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._running: tuple[str, asyncio.Task[None]] | None = None

    def start(self, index: Callable[[ProgressCallback], Awaitable[IndexReport]]) -> Job:
        """Starts a job and returns its state.

        Raises:
            Refused: If a job is running already.
        """
        if self._running is not None:
            raise Refused(409, "JobRunning", f"the job {self._running[0]} is running; wait for it, or cancel it")
        job = Job(id=uuid.uuid4().hex)
        self._jobs[job.id] = job
        for old in list(self._jobs)[:-_KEPT]:
            del self._jobs[old]
        self._running = job.id, asyncio.ensure_future(self._run(job.id, index))
        return job

    def get(self, job_id: str) -> Job:
        """Returns the state of a job.

        Raises:
            Refused: If there is no such job.
        """
        if job_id not in self._jobs:
            raise Refused(404, "UnknownJob", "there is no such job; the server forgets old jobs, and all when it stops")
        return self._jobs[job_id]

    async def cancel(self, job_id: str) -> Job:
        """Cancels a job, if it is running, and returns its state. What is stored stays."""
        self.get(job_id)
        if self._running is not None and self._running[0] == job_id:
            task = self._running[1]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return self._jobs[job_id]

    async def close(self) -> None:
        """Cancels the running job."""
        if self._running is not None:
            await self.cancel(self._running[0])

    async def _run(self, job_id: str, index: Callable[[ProgressCallback], Awaitable[IndexReport]]) -> None:
        def advance(step: str, item: str, done: int, total: int, /) -> None:
            self._update(job_id, step=step, done=done, total=total)

        try:
            self._update(job_id, state="done", report=await index(advance))
        except asyncio.CancelledError:
            self._update(job_id, state="cancelled")
            raise
        except CaslieError as error:
            self._update(job_id, state="failed", error=str(error))
        except Exception as error:
            self._update(job_id, state="failed", error=f"unexpected {type(error).__name__}; see the log of the server")
            raise
        finally:
            self._running = None

    def _update(self, job_id: str, **fields: object) -> None:
        self._jobs[job_id] = self._jobs[job_id].model_copy(update=fields)
