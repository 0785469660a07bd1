"""Reads and writes the table ``captions``. Every function works within the transaction of its caller.

A search finds a caption only if it is a general one, made when its image was indexed, or if a jury kept it. Other
captions are stored without an entry. They can be reused, so that they are not made again.
"""

import re
import sqlite3
from dataclasses import dataclass
from typing import Final

from caslie_tools.domain import Caption
from caslie_tools.store import entry_table
from caslie_tools.store.vectors import Vector, from_blob, to_blob

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_VERDICTS: Final = {True: "kept", False: "rejected", None: None}
_USE_PRECISION_SECONDS: Final = 86_400
"""The time of the last use is updated at most once a day, so that answering the same question again writes nothing."""


@dataclass(frozen=True)
class StoredCaption:
    """A caption with what the store knows about it."""

    caption: Caption
    verdict: bool | None
    """Whether a jury kept it; ``None`` if no jury has judged it."""
    used_at: int
    """Time of the last use, in seconds since 1970."""

    @property
    def searchable(self) -> bool:
        """Whether searches find it."""
        return bool(self.caption.text.strip()) and (self.caption.context.is_general or self.verdict is True)

    def updated(self, caption: Caption, verdict: bool | None, now: int) -> "StoredCaption":
        """Returns the caption after another use.

        A caption that a jury has kept for one question stays kept, even if it is rejected for a similar question.
        """
        if (self.caption.text, self.caption.evidence) != (caption.text, caption.evidence):
            return StoredCaption(caption, verdict, now)
        kept = True if self.verdict else self.verdict if verdict is None else verdict
        recent = now - self.used_at < _USE_PRECISION_SECONDS
        return StoredCaption(self.caption, kept, self.used_at if recent else now)


def find(connection: sqlite3.Connection, key: str) -> StoredCaption | None:
    """Returns a caption by its key with its verdict and last use, or ``None``."""
    row = connection.execute("SELECT json, verdict, used_at FROM captions WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    return StoredCaption(_parse(row[0]), None if row[1] is None else row[1] == "kept", row[2])


def put(connection: sqlite3.Connection, item: StoredCaption, vector: Vector | None, context: Vector | None) -> None:
    """Writes a caption. It replaces a caption with the same key.

    Args:
        connection: A connection in a write transaction.
        item: The caption.
        vector: Vector of the text of the caption; ``None`` if searches must not find it.
        context: Vector of the text of its context; ``None`` for a context without text.
    """
    caption = item.caption
    connection.execute(
        """INSERT OR REPLACE INTO captions
        (key, image, captioner, prompt_version, context_vector, json, general, verdict, used_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            caption.key,
            caption.image,
            caption.captioner,
            caption.prompt_version,
            None if context is None else to_blob(context),
            caption.model_dump_json(),
            caption.context.is_general,
            _VERDICTS[item.verdict],
            item.used_at,
        ),
    )
    if vector is None:
        entry_table.remove(connection, "caption", caption.key)
    else:
        entry_table.put(connection, "caption", caption.key, vector, image=caption.image, captioner=caption.captioner)


def record_use(connection: sqlite3.Connection, item: StoredCaption) -> None:
    """Writes the verdict and the last use of a caption that is stored already."""
    connection.execute(
        "UPDATE captions SET verdict = ?, used_at = ? WHERE key = ?",
        (_VERDICTS[item.verdict], item.used_at, item.caption.key),
    )


def get(connection: sqlite3.Connection, key: str) -> Caption | None:
    """Returns a caption by its key, or ``None``."""
    stored = find(connection, key)
    return None if stored is None else stored.caption


def context_vectors(
    connection: sqlite3.Connection, image: str, captioner: str, prompt_version: str
) -> list[tuple[str, Vector]]:
    """Returns the captions of an image by one captioner and prompt version: pairs of key and context vector, by key.

    Captions for a context without text have no context vector and are not included.
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


def same_numbers(text: str, other: str) -> bool:
    """Returns whether two texts contain the same numbers. Sentence embeddings hardly distinguish 750 ml from 500 ml."""
    return sorted(_NUMBER.findall(text)) == sorted(_NUMBER.findall(other))


def _parse(json: str) -> Caption:
    return Caption.model_validate_json(json).model_copy(update={"source": "cache"})
