"""What a command works with: the terminal of its user, the user's folder, and a store that is open already, if any.

A command usually runs in a process of its own. ``caslie serve`` runs the commands of its user in one warm process, each
in a session.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from caslie_tools.caslie import Caslie


@dataclass(frozen=True)
class Session:
    """The surroundings of a command that runs in a server."""

    caslie: "Caslie"
    """The open store. The command must not close it."""
    folder: Path
    """The current folder of the user."""
    out: Console
    """Standard output of the user."""
    err: Console
    """Standard error of the user."""


session: Final[ContextVar[Session | None]] = ContextVar("session", default=None)
"""The session of the running command; ``None`` in a process of its own."""


def from_here(path: Path) -> Path:
    """Returns a path that the user gave, relative to the user's current folder."""
    running = session.get()
    return path if running is None else running.folder / path


def image_from_here(image: str) -> str:
    """Returns an image that the user gave: a URL as it is, a path relative to the user's current folder."""
    if image.lower().startswith(("http:", "https:", "data:")):
        return image
    return str(from_here(Path(image)))
