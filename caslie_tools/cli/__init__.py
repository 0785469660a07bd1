"""The command ``caslie``.

Each command has a module that is named after it (``caslie eval compare`` is ``eval_compare.py``). A command parses its
options, calls the package, and either prints a text or returns a JSON document. It imports the package inside its
function, so that ``caslie --help`` stays fast.

The commands share these modules:

- ``app``: the list of commands
- ``forwarding``: lets a running ``caslie serve`` do a command; ``forwarded`` is its other end
- ``session``: what a command works with where it runs in a server
- ``runner``: errors, exit codes and JSON
- ``options``: options of several commands
- ``opening``: opens a store with the models of a profile
- ``console``: output streams, text that is safe to print, warnings and tables
- ``progress``: progress bars
- ``render``: texts that several commands print
"""

import os
import sys
from collections.abc import Sequence

from caslie_tools.cli.forwarding import forward

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits.

    Args:
        arguments: The command-line arguments, by default those of the process.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before the command started
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 (until the process ends)
    given = list(sys.argv[1:] if arguments is None else arguments)
    if (code := forward(given)) is None:
        from caslie_tools.cli.app import run_process  # takes a quarter of a second to import

        code = run_process(given)
    sys.exit(code)
