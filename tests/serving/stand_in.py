"""Stands for `vllm serve`: takes the planned arguments and answers /health, and misbehaves as its served name says.

    python stand_in.py FOLDER MODEL --served-model-name NAME ... --host HOST --port PORT ...

What it does it tells in lines of JSON, through the pipe FOLDER/events: open while one of its processes lives.
The words of NAME, split at dots, say how it is: `dies` at the start, `deaf` is never healthy, `waits` until FOLDER/go
exists, `stubborn` ignores SIGTERM, `mother` has two children, one of which left the process group. GET /die ends it.
"""

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[1])
ARGUMENTS = sys.argv[2:]
NAME = ARGUMENTS[ARGUMENTS.index("--served-model-name") + 1]
ADDRESS = (ARGUMENTS[ARGUMENTS.index("--host") + 1], int(ARGUMENTS[ARGUMENTS.index("--port") + 1]))
WAYS = NAME.split(".")
KEY = os.environ.get("VLLM_API_KEY", "")
EVENTS = os.open(FOLDER / "events", os.O_WRONLY)


def tell(event: str, **more: object) -> None:
    line = json.dumps({"event": event, "name": NAME, **more}) + "\n"
    os.write(EVENTS, line.encode())


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Handler(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        if self.path == "/die":
            say("CUDA out of memory")
            os._exit(4)
        Handler.asked += 1
        ready = Handler.asked > 1 and "deaf" not in WAYS and ("waits" not in WAYS or (FOLDER / "go").exists())
        if Handler.asked == 1:
            tell("asked")
        if ready:
            tell("healthy")
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def end(*_: object) -> None:
    tell("terminated")
    sys.exit(0)


def refuse(*_: object) -> None:
    tell("refused")


if __name__ == "__main__":
    # What is ignored here is ignored by the children too.
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in WAYS else end)
    child = [sys.executable, "-ISc", "import signal; signal.pause()"]
    children = [
        subprocess.Popen(child, pass_fds=[EVENTS], start_new_session=leaves).pid
        for leaves in (False, True)
        if "mother" in WAYS
    ]
    if "stubborn" in WAYS:
        signal.signal(signal.SIGTERM, refuse)
    tell(
        "started",
        arguments=ARGUMENTS,
        processes=[os.getppid(), os.getpid(), *children],
        key=KEY,
        gpu=os.environ.get("CUDA_VISIBLE_DEVICES"),
        ours=[name for name in os.environ if name.startswith("CASLIE_")],
    )
    say(f"{NAME} is loading")
    if "dies" in WAYS:
        say(f"\x1b[31mno weights[/red]\nloading: 1%\rloading: 2%\rthe key is {KEY}")
        sys.exit(3)
    HTTPServer(ADDRESS, Handler).serve_forever()
