"""Opens the store of a command with the models of its profile."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from caslie_tools.cli.session import session

if TYPE_CHECKING:
    from caslie_tools.caslie import Caslie


def open_caslie(
    store: Path | None, profile: str | None, *, create: bool = True, check_models: bool = True
) -> AbstractContextManager["Caslie"]:
    """Opens a store with the models of a profile. Options that are ``None`` come from the environment.

    A command that runs in a server gets the store of the server, which stays open.

    Args:
        store: The folder of the store.
        profile: The profile.
        create: Create the store if it does not exist.
        check_models: Check the model servers of the profile first, unless ``CASLIE_CHECK_MODELS`` disables it. Commands
            that call no model pass ``False``.

    Raises:
        CaslieError: The errors of :meth:`caslie_tools.caslie.Caslie.open`.
    """
    if (running := session.get()) is not None:
        return nullcontext(running.caslie)
    from caslie_tools.caslie import Caslie
    from caslie_tools.settings import Settings

    settings = Settings.load(store=store, profile=profile, check_models=None if check_models else False)
    return Caslie.open(settings=settings, create=create)
