"""The HTTP API of ``caslie serve``: one warm process that answers, searches, predicts and indexes.

- ``app``: the application and its routes
- ``bodies``: what requests contain
- ``access``: who may call it: hosts, origins and the token
- ``body_limits``: bounds the body of a request while it is received
- ``work``: limits on time and parallelism; a client that leaves stops its work
- ``jobs``: indexing in the background
- ``errors``: errors as JSON
"""

from caslie_tools.http_api.app import create_app
from caslie_tools.http_api.limits import ServerLimits

__all__ = ["ServerLimits", "create_app"]
