"""Who may call the API: the hosts it answers for, and the token.

This module needs the extra ``serve``.
"""

import hmac
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from caslie_tools.http_api.body_limits import BodyLimits
from caslie_tools.http_api.errors import Refused, error_response
from caslie_tools.http_api.limits import ServerLimits

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
        limits: The limits of the bodies of requests.
        private_paths: Paths that check a token of their own.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        hosts: Collection[str],
        limits: ServerLimits,
        private_paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset(hosts)
        self._bodies = BodyLimits(limits)
        self._private_paths = frozenset(private_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is no route with a WebSocket
            await send({"type": "websocket.close"})
            return
        body = self._bodies.body(receive)
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            if body.refusal is None or started:  # the framework takes a refused body for one that it cannot parse
                started = True
                await send(message)

        refusal: Refused | None = None
        try:
            self._check(scope["path"], Headers(scope=scope))
            await self._app(scope, body.receive, watched)
        except Refused as error:
            refusal = error
        finally:
            body.close()
        refusal = body.refusal or refusal
        if refusal is not None and not started:
            response = error_response(refusal.status, refusal.kind, str(refusal), refusal.headers)
            await response(scope, receive, send)

    def _check(self, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) > 1 or (self._hosts and _name(host) not in self._hosts):
            raise Refused(421, "WrongHost", "this server does not answer for the host that the request names")
        if not all(_has_host(origin, host) for origin in headers.getlist("origin")):
            raise Refused(403, "WrongOrigin", "web pages of other origins may not call this server")
        open_to_all = path in OPEN_PATHS or path in self._private_paths
        if self._token is not None and not open_to_all and not has_token(headers, self._token):
            raise Refused(401, "Unauthorized", "send the token of the server: 'Authorization: Bearer <token>'")
        self._bodies.check_length(headers.get("content-length", "0"))


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


def _has_host(origin: str, host: str) -> bool:
    """Whether a web page of an origin comes from a host, which may have a port."""
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False
