"""Rows of captions. Every function works within the caller's transaction."""

import sqlite3

from caslie_tools.domain import Caption
from caslie_tools.store import entries
from caslie_tools.store.vectors import Vector, from_blob, to_blob


def is_stored(connection: sqlite3.Connection, caption: Caption) -> bool:
    """Whether the caption under its key says the same."""
    known = get(connection, caption.key)
    return known is not None and (known.text, known.evidence) == (caption.text, caption.evidence)


def put(connection: sqlite3.Connection, caption: Caption, vector: Vector | None, context: Vector | None) -> None:
    """Writes a caption, in place of the one under its key if there is one.

    Args:
        connection: In a write transaction.
        caption: The caption.
        vector: Of its text; ``None`` if it has nothing to be found by.
        context: Of its context's text; ``None`` for a general caption.
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
        entries.remove(connection, "caption", caption.key)
    else:
        entries.put(connection, "caption", caption.key, vector, image=caption.image)


def get(connection: sqlite3.Connection, key: str) -> Caption | None:
    """Reads a caption."""
    row = connection.execute("SELECT json FROM captions WHERE key = ?", (key,)).fetchone()
    return None if row is None else _read(row[0])


def alike(connection: sqlite3.Connection, image: str, captioner: str, prompt_version: str) -> list[tuple[str, Vector]]:
    """The captions of an image, captioner and prompt version made for a text: (key, vector of that text), by key."""
    rows = connection.execute(
        """SELECT key, context_vector FROM captions
        WHERE image = ? AND captioner = ? AND prompt_version = ? AND context_vector IS NOT NULL ORDER BY key""",
        (image, captioner, prompt_version),
    )
    return [(key, from_blob(blob)) for key, blob in rows]


def of_images(connection: sqlite3.Connection, images: list[str] | None) -> list[Caption]:
    """The captions of some images, or all captions; image by image, each image's oldest first."""
    if images is None:
        rows = [json for (json,) in connection.execute("SELECT json FROM captions ORDER BY image")]
    else:
        rows = [
            json
            for image in dict.fromkeys(images)
            for (json,) in connection.execute("SELECT json FROM captions WHERE image = ?", (image,))
        ]
    found = [_read(json) for json in rows]
    order = {image: index for index, image in enumerate(dict.fromkeys(caption.image for caption in found))}
    return sorted(found, key=lambda caption: (order[caption.image], caption.created_at, caption.key))


def remove_of_image(connection: sqlite3.Connection, image: str) -> None:
    """Removes all captions of an image."""
    connection.execute("DELETE FROM entries WHERE kind = 'caption' AND image = ?", (image,))
    connection.execute("DELETE FROM captions WHERE image = ?", (image,))


def _read(json: str) -> Caption:
    return Caption.model_validate_json(json).model_copy(update={"source": "cache"})
