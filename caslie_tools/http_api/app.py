"""The application: its routes over one open store. It needs the extra ``serve``."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from caslie_tools._version import __version__
from caslie_tools.caslie import Caslie
from caslie_tools.catalogue.reports import IndexReport
from caslie_tools.domain import ImageRef, ProgressCallback
from caslie_tools.http_api.access import LOOPBACK, AccessControl
from caslie_tools.http_api.bodies import Catalogue, Question, Search, TaskInstance
from caslie_tools.http_api.errors import Refused, add_handlers
from caslie_tools.http_api.jobs import IndexJobs, Job
from caslie_tools.http_api.limits import ServerLimits
from caslie_tools.http_api.work import Workplace

_DESCRIPTION = "Answers questions about products from their texts and images. Errors are `{error: {type, message}}`."


def create_app(
    caslie: Caslie,
    *,
    token: str | None = None,
    hosts: Collection[str] = LOOPBACK,
    catalogues: Path | None = None,
    limits: ServerLimits | None = None,
    private: APIRouter | None = None,
    on_start: Callable[[], Awaitable[None]] | None = None,
) -> ASGIApp:
    """Creates the ASGI application. Run it with any ASGI server, such as uvicorn.

    Args:
        caslie: The open store. The caller closes it.
        token: The token that requests must carry. ``None`` for no token.
        hosts: Names that the ``Host`` header may have. By default those of the loopback interface; empty for any.
        catalogues: Folder of the catalogue files that may be indexed. ``None`` for none.
        limits: The limits of requests.
        private: More routes. They check the right to call them on their own.
        on_start: Called when the server starts.
    """
    limits = limits or ServerLimits()
    jobs = IndexJobs()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if on_start is not None:
            await on_start()
        try:
            yield
        finally:
            await jobs.close()

    app = FastAPIOffline(
        title="caslie-tools", version=__version__, description=_DESCRIPTION, redoc_url=None, lifespan=lifespan
    )
    add_handlers(app)
    app.include_router(_routes(caslie, Workplace(limits)))
    app.include_router(_index_routes(caslie, jobs, catalogues))
    paths: list[str] = []
    if private is not None:
        app.include_router(private, include_in_schema=False)
        paths = [route.path for route in private.routes if hasattr(route, "path")]
    return AccessControl(app, token=token, hosts=hosts, limits=limits, private_paths=frozenset(paths))


def _routes(caslie: Caslie, workplace: Workplace) -> APIRouter:
    router = APIRouter()

    @router.get("/health", summary="Whether the server works")
    async def health() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    @router.get("/store", summary="What the store holds")
    async def store(request: Request) -> dict[str, Any]:
        stats = await workplace.do(request, caslie.store.astats())
        return {"profile": caslie.profile.name, "store": stats.model_dump(mode="json")}

    @router.post("/ask", summary="Answer an open question about products")
    async def ask(request: Request, body: Question) -> dict[str, Any]:
        images = [ImageRef(url=url) for url in body.images]
        work = caslie.aask(
            body.question, products=body.products, images=images, where=body.where, use_images=body.use_images
        )
        return (await workplace.do(request, work)).to_json()

    @router.post("/search", summary="Search products by words, by an image or by both")
    async def search(request: Request, body: Search) -> dict[str, Any]:
        image = None if body.image is None else ImageRef(url=body.image)
        work = caslie.asearch(body.text, image=image, where=body.where, count=body.count)
        return {"products": [hit.model_dump(mode="json") for hit in await workplace.do(request, work)]}

    @router.post("/predict", summary="Solve an instance of a task")
    async def predict(request: Request, body: TaskInstance) -> dict[str, Any]:
        images = [None if url is None else ImageRef(url=url) for url in body.images]
        work = caslie.apredict(body.task, body.record, images=images, use_images=body.use_images)
        return (await workplace.do(request, work)).to_json()

    @router.get("/captions", summary="The stored captions of a product")
    async def captions(request: Request, product: str) -> dict[str, Any]:
        return {"captions": await workplace.do(request, asyncio.to_thread(caslie.captions, product))}

    return router


def _index_routes(caslie: Caslie, jobs: IndexJobs, catalogues: Path | None) -> APIRouter:
    router = APIRouter()

    @router.post("/index", status_code=202, summary="Index a catalogue in the background")
    async def index(body: Catalogue) -> Job:
        catalogue = _file(catalogues, body.file) if body.file is not None else tuple(body.products or ())

        async def run(progress: ProgressCallback) -> IndexReport:
            return await caslie.aindex(catalogue, prune=body.prune, progress=progress)

        return jobs.start(run)

    @router.get("/jobs/{job_id}", summary="The progress or the result of a job")
    async def job(job_id: str) -> Job:
        return jobs.get(job_id)

    @router.delete("/jobs/{job_id}", summary="Cancel a job; what is stored stays")
    async def cancel(job_id: str) -> Job:
        return await jobs.cancel(job_id)

    return router


def _file(folder: Path | None, name: str) -> Path:
    if folder is None:
        raise Refused(403, "NoCatalogues", "no folder of catalogues is open; start the server with --catalogues FOLDER")
    try:
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file():
            return path
    except (OSError, ValueError):  # a name that no file can have
        pass
    raise Refused(404, "UnknownCatalogue", "there is no such file in the folder of catalogues")
