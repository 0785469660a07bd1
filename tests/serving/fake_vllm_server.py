"""A fake of `vllm serve`: accepts the planned arguments, answers /health, and fails in the ways its name asks for.

    python fake_vllm_server.py FOLDER MODEL --served-model-name NAME ... --host HOST --port PORT ...

It writes events as JSON lines to the named pipe FOLDER/events, which is open as long as one of its processes runs.
NAME is a list of words separated by dots, and each word can select a behaviour:

- `crashes`: exits at startup.
- `unhealthy`: never becomes healthy.
- `held`: becomes healthy once the file FOLDER/release exists.
- `stubborn`: ignores SIGTERM.
- `forking`: has two child processes, one of them outside the process group.

The second request to /health is the first that can succeed. GET /crash ends the server.
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
BEHAVIOURS = NAME.split(".")
API_KEY = os.environ.get("VLLM_API_KEY", "")
EVENTS = os.open(FOLDER / "events", os.O_WRONLY)


def emit(event: str, **more: object) -> None:
    line = json.dumps({"event": event, "name": NAME, **more}) + "\n"
    os.write(EVENTS, line.encode())


def log(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Handler(BaseHTTPRequestHandler):
    health_requests = 0

    def do_GET(self) -> None:
        if self.path == "/crash":
            log("CUDA out of memory")
            os._exit(4)
        Handler.health_requests += 1
        released = "held" not in BEHAVIOURS or (FOLDER / "release").exists()
        healthy = Handler.health_requests > 1 and "unhealthy" not in BEHAVIOURS and released
        if Handler.health_requests == 1:
            emit("polled")
        if healthy:
            emit("healthy")
        self.send_response(200 if healthy else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def terminate(*_: object) -> None:
    emit("terminated")
    sys.exit(0)


def ignore_sigterm(*_: object) -> None:
    emit("sigterm_ignored")


if __name__ == "__main__":
    # Children inherit an ignored signal, but not a handler.
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in BEHAVIOURS else terminate)
    child = [sys.executable, "-ISc", "import signal; signal.pause()"]
    children = [
        subprocess.Popen(child, pass_fds=[EVENTS], start_new_session=outside_group).pid
        for outside_group in (False, True)
        if "forking" in BEHAVIOURS
    ]
    if "stubborn" in BEHAVIOURS:
        signal.signal(signal.SIGTERM, ignore_sigterm)
    emit(
        "started",
        arguments=ARGUMENTS,
        processes=[os.getppid(), os.getpid(), *children],
        api_key=API_KEY,
        gpu=os.environ.get("CUDA_VISIBLE_DEVICES"),
        caslie_variables=[name for name in os.environ if name.startswith("CASLIE_")],
    )
    log(f"{NAME} is loading")
    if "crashes" in BEHAVIOURS:
        log(f"\x1b[31mno weights[/red]\nloading: 1%\rloading: 2%\rthe key is {API_KEY}")
        sys.exit(3)
    HTTPServer(ADDRESS, Handler).serve_forever()
