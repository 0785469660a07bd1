"""Errors as JSON: the same form as ``caslie --json``, ``{"error": {"type": ..., "message": ...}}``.

This module needs the extra ``serve``.
"""

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from caslie_tools.exceptions import (
    CaslieError,
    EndpointError,
    ImageError,
    InputError,
    ModelError,
    StoreBusyError,
    UnknownProductError,
)

_STATUS: tuple[tuple[type[CaslieError], int], ...] = (
    (UnknownProductError, 404),
    (InputError, 400),
    (ImageError, 400),
    (StoreBusyError, 503),
    (EndpointError, 502),
    (ModelError, 502),
)

_MAX_MESSAGE: Final = 2000


class Refused(Exception):  # noqa: N818 (not an error of the server)
    """A request that is refused before it is worked on, or that took too long."""

    def __init__(self, status: int, kind: str, message: str, *, retry_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.headers = {} if retry_seconds is None else {"Retry-After": str(retry_seconds)}


def error_response(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Returns an error as JSON, in one line. A message that repeats a long value of the request is cut."""
    document = {"error": {"type": kind, "message": " ".join(message[:_MAX_MESSAGE].split())}}
    return JSONResponse(document, status_code=status, headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Lets an application report its errors as JSON, without the message of an unexpected one: it may hold secrets."""

    @app.exception_handler(CaslieError)
    async def caslie_error(_: Request, error: CaslieError) -> JSONResponse:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return error_response(status, type(error).__name__, str(error))

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return error_response(error.status, error.kind, str(error), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(422, "InvalidRequest", "; ".join(_reason(each) for each in error.errors()[:5]))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return error_response(error.status_code, "HTTPError", str(error.detail), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        name = type(error).__name__
        return error_response(500, "InternalError", f"unexpected {name}; the log of the server has the details")


def _reason(error: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"] if part != "body")[:200]
    return f"{place}: {error['msg']}" if place else str(error["msg"])
