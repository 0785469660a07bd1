"""The graph that ``langgraph dev`` serves, over the store and the profile of the environment.

The server has its own checkpointer. The graph is therefore compiled without one.
"""

import asyncio
import threading

from caslie_tools.caslie import Caslie
from caslie_tools.graphs.run import CaslieGraph
from caslie_tools.settings import Settings

_opened: list[Caslie] = []
_opening = threading.Lock()  # not a lock of asyncio: the server runs several event loops


async def make_graph() -> CaslieGraph:
    """Returns the graph. The first call in a process opens the store.

    Raises:
        CaslieError: If a setting, the profile or the store cannot be used.
    """
    return (_opened[0] if _opened else await asyncio.to_thread(_open)).graph


def _open() -> Caslie:
    with _opening:
        if not _opened:
            settings = Settings.load()
            # Clients of the server must not be able to read image files from its disk. The state of a thread, which
            # the server sends, must not hold the bytes of images.
            defaults = {"allow_local_paths": False, "store_uploads": True}
            settings = settings.model_copy(
                update={name: value for name, value in defaults.items() if name not in settings.model_fields_set}
            )
            _opened.append(Caslie.open(settings=settings, create=False))
        return _opened[0]
