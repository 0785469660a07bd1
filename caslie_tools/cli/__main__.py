"""``python -m caslie_tools.cli``: the command where its script is not on the path."""

from caslie_tools.cli import main

main()
