"""Who may call the API: the hosts it answers for, the token, and the size of a request.

This module needs the extra ``serve``.
"""

import hmac
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from caslie_tools.http_api.errors import Refused, error_response

OPEN_PATHS: Final = frozenset({"/health"})
"""Paths that need no token: a probe of an operator has none."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class AccessControl:
    """Refuses requests before the application sees them.

    Args:
        app: The application.
        token: The token that requests carry in ``Authorization: Bearer``. ``None`` for no token.
        hosts: Names that the ``Host`` header may have, without the port. A web page that has a name resolve to this
            machine (DNS rebinding) is refused. Empty for any name, which only makes sense with a token.
        max_body_bytes: Maximum size of a request.
        private_paths: Paths that check a token of their own.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        hosts: Collection[str],
        max_body_bytes: int,
        private_paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset(hosts)
        self._max_body_bytes = max_body_bytes
        self._private_paths = frozenset(private_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        read, started, too_large = 0, False, False

        async def counted() -> Message:
            nonlocal read, too_large
            message = await receive()
            read += len(message.get("body", b""))
            too_large = read > self._max_body_bytes
            if too_large:
                raise self._too_large()
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            if not too_large or started:
                started = True
                await send(message)

        refusal: Refused | None = None
        try:
            self._check(scope["path"], Headers(scope=scope))
            await self._app(scope, counted, watched)
        except Refused as error:
            refusal = error
        if too_large:  # the framework takes such a body for one that it cannot parse
            refusal = self._too_large()
        if refusal is not None and not started:
            response = error_response(refusal.status, refusal.kind, str(refusal), refusal.headers)
            await response(scope, receive, send)

    def _check(self, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._hosts and _name(host) not in self._hosts:
            raise Refused(421, "WrongHost", "this server does not answer for the host that the request names")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Refused(403, "WrongOrigin", "web pages of other origins may not call this server")
        open_to_all = path in OPEN_PATHS or path in self._private_paths
        if self._token is not None and not open_to_all and not has_token(headers, self._token):
            raise Refused(401, "Unauthorized", "send the token of the server: 'Authorization: Bearer <token>'")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length[:20]) > self._max_body_bytes:
            raise self._too_large()

    def _too_large(self) -> Refused:
        return Refused(413, "RequestTooLarge", f"a request may have at most {self._max_body_bytes:,} bytes")


def has_token(headers: Headers, token: str) -> bool:
    """Whether a request carries a token, compared in constant time."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _name(host: str) -> str:
    """Returns the name in a ``Host`` header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
