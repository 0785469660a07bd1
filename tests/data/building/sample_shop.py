"""A made-up shop for tests of building: generated products with drawn pictures, and logs about them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from caslie_tools.data.building.seeded_random import seeded_random
from tests.doubles import draw_picture
from tests.shop import Shop, stocked

OPENED = 1_700_000_000
"""When the shop opened, in seconds since 1970."""

Rows = Sequence[Mapping[str, object]]


def write_log(path: Path, rows: Rows) -> Path:
    """Writes a log as CSV. A column that is missing in a row is left empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)
    return path


def write_sample_shop(folder: Path, *, products: int = 40, shuffle: int | None = None) -> tuple[Path, dict[str, Path]]:
    """Writes a catalogue of generated products and all four logs. Returns the catalogue, and the logs by kind.

    Args:
        folder: The output folder.
        products: Number of products. Some share a picture, see :func:`tests.shop.stocked`.
        shuffle: Seed for the order of all rows. It changes nothing else.
    """
    shop = stocked(folder, products)
    ids = sorted(shop.rows)
    chance = seeded_random(7)
    (folder / "mine.png").write_bytes(draw_picture("MY OWN", "yellow"))
    logs: dict[str, list[dict[str, object]]] = {
        "searches": [
            {
                "query": f"query {number % 9}",
                "product": product,
                "judgement": chance.choice("ESCI"),
                "time": OPENED + number,
            }
            for number, product in enumerate(ids)
        ]
        + [{"query": "bought", "product": product, "purchased": 1, "time": OPENED + 99} for product in ids[:5]],
        "reviews": [
            {
                "product": chance.choice(ids),
                "text": f"I think {number}",
                "stars": 1 + number % 5,
                "user": f"u{number % 7}",
                "time": OPENED + number,
                "image": "mine.png" if number == 3 else "",
            }
            for number in range(60)
        ],
        "questions": [
            {
                "product": product,
                "question": f"What does label {number} say?",
                "answer": f"LABEL {number}" if number % 3 else "",
                "answerable": "yes" if number % 3 else "no",
                "time": OPENED + 20 + number,
            }
            for number, product in enumerate(ids)
        ],
        "events": [
            {
                "user": f"u{user}",
                "product": chance.choice(ids),
                "time": OPENED + 86400 * (day // 3) + 60 * day,
                "event": chance.choice(["purchase", "purchase", "view"]),
            }
            for user in range(40)
            for day in range(12)
        ],
    }
    if shuffle is not None:
        order = seeded_random(shuffle)
        for rows in logs.values():
            order.shuffle(rows)
        shuffled = Shop(folder)
        shuffled.rows = {product: shop.rows[product] for product in order.sample(ids, len(ids))}
        shuffled.write()
    return shop.path, {kind: write_log(folder / f"{kind}.csv", rows) for kind, rows in logs.items()}
