"""The command ``caslie``."""

from caslie_tools.cli.app import main

__all__ = ["main"]
