"""What ``langgraph dev`` serves: the state machine over the store and profile that the environment names.

The server brings its own checkpointer, so none is compiled in.
"""

import asyncio

from caslie_tools.caslie import Caslie
from caslie_tools.reply import CaslieGraph

_opened: dict[str, Caslie] = {}
_opening = asyncio.Lock()


async def make_graph() -> CaslieGraph:
    """Opens the store once per process and returns its graph.

    Raises:
        CaslieError: If a setting, the profile or the store cannot be used.
    """
    async with _opening:
        if "caslie" not in _opened:
            _opened["caslie"] = await asyncio.to_thread(Caslie.open)
    return _opened["caslie"].graph
