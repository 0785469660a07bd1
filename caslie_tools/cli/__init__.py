"""The command ``caslie``.

Each command has a module that is named after it (``caslie eval compare`` is ``eval_compare.py``). A command parses its
options, calls the package, and either prints a text or returns a JSON document. It imports the package inside its
function, so that ``caslie --help`` stays fast.

The commands share these modules:

- ``app``: the list of commands and the entry point
- ``runner``: errors, exit codes and JSON
- ``options``: options of several commands
- ``opening``: opens a store with the models of a profile
- ``console``: output streams, text that is safe to print, warnings and tables
- ``progress``: progress bars
- ``render``: texts that several commands print
"""

from caslie_tools.cli.app import main

__all__ = ["main"]
