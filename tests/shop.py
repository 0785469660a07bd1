"""A shop for tests of indexing: catalogues in a folder, pictures behind URLs, and what a store holds in the end."""

import csv
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.doubles import COLOURS, draw_picture

DATABASE = "store.sqlite"


class Shop:
    """A CSV catalogue in a folder with its pictures, to be changed row by row."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, dict[str, str]] = {}
        self.path = folder / "products.csv"
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, product: str, *pictures: str, **cells: str) -> None:
        """Adds or replaces a row; ``pictures`` are file names or URLs."""
        row = {"id": product, "title": f"Product {product}", "price": "1", "image": "|".join(pictures)}
        self.rows[product] = row | cells
        self.write()

    def draw(self, name: str, label: str, colour: str = "white") -> str:
        """Draws a picture; returns its name."""
        (self.folder / name).write_bytes(draw_picture(label, colour))
        return name

    def write(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        with self.path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.DictWriter(file, columns)
            rows.writeheader()
            rows.writerows(self.rows.values())


def stocked(folder: Path, count: int) -> Shop:
    """A shop of so many generated products, a picture each, every fifth with a second one shared with its neighbour."""
    shop = Shop(folder)
    colours = list(COLOURS)
    for number in range(count):
        pictures = [shop.draw(f"p{number}.png", f"LABEL {number}", colours[number % len(colours)])]
        if number % 5 < 2:
            pictures.append(shop.draw(f"shared{number // 5}.png", f"SHARED {number // 5}", "grey"))
        shop.rows[f"p{number:02}"] = {
            "id": f"p{number:02}",
            "title": f"Product {number}",
            "category": f"Shelf {number % 4}",
            "price": str(number + 0.5),
            "image": "|".join(pictures),
        }
    shop.write()
    return shop


class PictureServer:
    """Serves pictures by path on a free loopback port; any other path is dead."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.pictures: dict[str, bytes] = {}
        self.requests: list[str] = []
        """Paths that were asked for, in order."""

    def url(self, path: str) -> str:
        return self.base + path


@contextmanager
def picture_server() -> Iterator[PictureServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests.append(self.path)
            body = served.pictures.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = PictureServer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


_CONTENT = {
    "spaces": "SELECT * FROM spaces",
    "products": "SELECT id, digest, json FROM products",
    "product_images": "SELECT * FROM product_images",
    "images": "SELECT * FROM images",
    "captions": "SELECT key, image, captioner, prompt_version, context_vector, general, verdict, json FROM captions",
    "entries": "SELECT space, kind, key, image, content, metadata, vector FROM entries",
    "facts": "SELECT e.kind, e.key, f.name, f.type, f.value FROM facts f JOIN entries e ON e.id = f.entry",
    "observations": "SELECT * FROM observations",
}


def content_of(store: Path) -> dict[str, list[Any]]:
    """Returns all that a store holds, vectors included, but for row ids and timestamps; read beside the package."""
    with closing(sqlite3.connect(store / DATABASE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        content = {name: sorted(database.execute(query), key=repr) for name, query in _CONTENT.items()}
    captions = [(*row[:-1], json.loads(row[-1])) for row in content["captions"]]
    for *_, caption in captions:
        del caption["created_at"]
    return content | {"captions": captions}


def captioned_products(store: Path) -> set[str]:
    """Returns the products of a store all of whose readable images have a caption."""
    with closing(sqlite3.connect(store / DATABASE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows: Sequence[tuple[str]] = database.execute(
            """SELECT id FROM products p WHERE NOT EXISTS (
                SELECT 1 FROM product_images i WHERE i.product = p.id AND i.image IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM captions c WHERE c.image = i.image))"""
        ).fetchall()
    return {product for (product,) in rows}
