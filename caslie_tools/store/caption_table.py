"""Reads and writes the table ``captions``. Every function works within the transaction of its caller."""

import sqlite3

from caslie_tools.domain import Caption
from caslie_tools.store import entry_table
from caslie_tools.store.vectors import Vector, from_blob, to_blob


def is_stored(connection: sqlite3.Connection, caption: Caption) -> bool:
    """Returns whether the caption is stored with the same text and evidence."""
    stored = get(connection, caption.key)
    return stored is not None and (stored.text, stored.evidence) == (caption.text, caption.evidence)


def put(connection: sqlite3.Connection, caption: Caption, vector: Vector | None, context: Vector | None) -> None:
    """Writes a caption. It replaces a caption with the same key.

    Args:
        connection: A connection in a write transaction.
        caption: The caption.
        vector: Vector of the text of the caption; ``None`` for an empty text, which no search finds.
        context: Vector of the text of its context; ``None`` for a general caption.
    """
    connection.execute(
        "INSERT OR REPLACE INTO captions VALUES (?, ?, ?, ?, ?, ?)",
        (
            caption.key,
            caption.image,
            caption.captioner,
            caption.prompt_version,
            None if context is None else to_blob(context),
            caption.model_dump_json(),
        ),
    )
    if vector is None:
        entry_table.remove(connection, "caption", caption.key)
    else:
        entry_table.put(connection, "caption", caption.key, vector, image=caption.image)


def get(connection: sqlite3.Connection, key: str) -> Caption | None:
    """Returns a caption by its key, or ``None``."""
    row = connection.execute("SELECT json FROM captions WHERE key = ?", (key,)).fetchone()
    return None if row is None else _parse(row[0])


def context_vectors(
    connection: sqlite3.Connection, image: str, captioner: str, prompt_version: str
) -> list[tuple[str, Vector]]:
    """Returns the captions of an image by one captioner and prompt version: pairs of key and context vector, by key.

    General captions have no context vector and are not included.
    """
    rows = connection.execute(
        """SELECT key, context_vector FROM captions
        WHERE image = ? AND captioner = ? AND prompt_version = ? AND context_vector IS NOT NULL ORDER BY key""",
        (image, captioner, prompt_version),
    )
    return [(key, from_blob(blob)) for key, blob in rows]


def captions_of(connection: sqlite3.Connection, images: list[str] | None) -> list[Caption]:
    """Returns the captions of some images, or all captions, grouped by image. The oldest caption comes first."""
    if images is None:
        rows = [json for (json,) in connection.execute("SELECT json FROM captions ORDER BY image")]
    else:
        rows = [
            json
            for image in dict.fromkeys(images)
            for (json,) in connection.execute("SELECT json FROM captions WHERE image = ?", (image,))
        ]
    captions = [_parse(json) for json in rows]
    order = {image: index for index, image in enumerate(dict.fromkeys(caption.image for caption in captions))}
    return sorted(captions, key=lambda caption: (order[caption.image], caption.created_at, caption.key))


def remove_captions_of(connection: sqlite3.Connection, image: str) -> None:
    """Removes all captions of an image."""
    connection.execute("DELETE FROM entries WHERE kind = 'caption' AND image = ?", (image,))
    connection.execute("DELETE FROM captions WHERE image = ?", (image,))


def _parse(json: str) -> Caption:
    return Caption.model_validate_json(json).model_copy(update={"source": "cache"})
