"""``python -m caslie_tools.tuning ...`` is ``caslie tune model ...``: what ``accelerate launch -m`` can start."""

import sys

from caslie_tools.cli import main

if __name__ == "__main__":
    main(["tune", "model", *sys.argv[1:]])
