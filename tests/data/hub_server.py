"""A small server that behaves like the Hugging Face hub with one dataset."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DATASET = "shop/data"
_COMMIT = "0" * 40


@contextmanager
def hub(files: dict[str, bytes]) -> Iterator[str]:
    """Serves the dataset ``shop/data`` with these files at its top level. Yields the address of the hub."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            _, _, name = path.replace(f"/{_COMMIT}", "/main").partition("/resolve/main/")
            if name in files:
                self.answer(200, files[name], ETag=f'"{name}"', **{"X-Repo-Commit": _COMMIT})
            elif name or "/" in path.partition("/tree/")[2]:
                self.answer(404, b"", **{"X-Error-Code": "EntryNotFound", "X-Repo-Commit": _COMMIT})
            elif not path.startswith(f"/api/datasets/{DATASET}"):
                self.answer(404, b"{}", **{"X-Error-Code": "RepoNotFound"})
            elif "/tree/" in path:
                self.answer_json([self.entry(name) for name in files])
            else:
                siblings = [{"rfilename": name} for name in files]
                self.answer_json({"id": DATASET, "sha": _COMMIT, "siblings": siblings, "private": False, "tags": []})

        do_HEAD = do_GET  # noqa: N815 (the base class's name)

        def do_POST(self) -> None:  # the client asks which of these paths exist
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
            self.answer_json([self.entry(name) for name in files if name in asked])

        def entry(self, name: str) -> dict[str, Any]:
            return {"type": "file", "path": name, "size": len(files[name]), "oid": "1" * 40}

        def answer_json(self, document: Any) -> None:
            self.answer(200, json.dumps(document).encode())

        def answer(self, code: int, data: bytes, **headers: str) -> None:
            first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
            if first and code == 200:
                end = min(int(last or len(data)), len(data) - 1)
                headers["Content-Range"] = f"bytes {first}-{end}/{len(data)}"
                code, data = 206, data[int(first) : end + 1]
            self.send_response(code)
            for header, value in (headers | {"Content-Length": str(len(data))}).items():
                self.send_header(header, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
