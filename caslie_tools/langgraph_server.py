"""What ``langgraph dev`` serves: the state machine over the store and profile that the environment names.

The server brings its own checkpointer, so none is compiled in.
"""

import asyncio
import threading

from caslie_tools.caslie import Caslie
from caslie_tools.graphs.run import CaslieGraph
from caslie_tools.settings import Settings

_opened: list[Caslie] = []
_opening = threading.Lock()  # not asyncio's: the server runs several event loops


async def make_graph() -> CaslieGraph:
    """Opens the store once per process and returns its graph.

    Raises:
        CaslieError: If a setting, the profile or the store cannot be used.
    """
    return (_opened[0] if _opened else await asyncio.to_thread(_open)).graph


def _open() -> Caslie:
    with _opening:
        if not _opened:
            settings = Settings.load()
            if "allow_local_paths" not in settings.model_fields_set:
                # Whoever can reach the server must not have it read pictures off its disk.
                settings = settings.model_copy(update={"allow_local_paths": False})
            _opened.append(Caslie.open(settings=settings))
        return _opened[0]
