"""The SQL schema of a store, and its version."""

from typing import Final

SCHEMA_VERSION: Final = 2
"""Written to ``PRAGMA user_version``. A store with an older version is migrated, and one with a newer is refused."""

APPLICATION_ID: Final = 0x43534C45
"""Written to ``PRAGMA application_id`` ("CSLE"). It distinguishes a store from a database of another program."""

SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- The model that computed the vectors of a space. Vectors of different models are never compared.
CREATE TABLE spaces (
    name TEXT PRIMARY KEY, identity TEXT NOT NULL, dimension INTEGER NOT NULL, fingerprint BLOB
) WITHOUT ROWID;

CREATE TABLE products (id TEXT PRIMARY KEY, digest TEXT NOT NULL, json TEXT NOT NULL);

CREATE TABLE images (
    sha256 TEXT PRIMARY KEY, media_type TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL
);

-- An image that could not be read has a row with a null image.
CREATE TABLE product_images (
    product TEXT NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    image TEXT REFERENCES images (sha256),
    reference TEXT NOT NULL,
    PRIMARY KEY (product, position)
) WITHOUT ROWID;
CREATE INDEX product_images_by_image ON product_images (image);

-- Captions can belong to images outside the catalogue, so there is no foreign key to the images table.
-- A general caption is made when its image is indexed. A caption without a verdict was not judged, or is general.
-- The time of the last use is in seconds since 1970.
CREATE TABLE captions (
    key TEXT PRIMARY KEY,
    image TEXT NOT NULL,
    captioner TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    context_vector BLOB,
    json TEXT NOT NULL,
    general INTEGER NOT NULL DEFAULT 0,
    verdict TEXT CHECK (verdict IN ('kept', 'rejected')),
    used_at INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX captions_by_image ON captions (image, captioner, prompt_version);
CREATE INDEX captions_by_use ON captions (used_at) WHERE NOT general;

CREATE TABLE observations (
    image TEXT NOT NULL, observer TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (image, observer)
) WITHOUT ROWID;

-- Everything that a search can find. A caption has an entry if it is general or was kept by a jury. Ids are never
-- reused, and an update is a removal and a new entry. So an index in any process is updated by reading the entries and
-- removals after the last ones it has read.
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    space TEXT NOT NULL CHECK (space IN ('text', 'picture')),
    kind TEXT NOT NULL CHECK (kind IN ('product', 'caption', 'image', 'document')),
    key TEXT NOT NULL,
    image TEXT,
    content TEXT,
    metadata TEXT,
    vector BLOB NOT NULL,
    captioner TEXT,
    UNIQUE (kind, key)
);
CREATE INDEX entries_by_space ON entries (space);
CREATE INDEX entries_by_image ON entries (image, kind) WHERE image IS NOT NULL;
CREATE INDEX entries_by_captioner ON entries (captioner) WHERE captioner IS NOT NULL;

CREATE TABLE removals (sequence INTEGER PRIMARY KEY AUTOINCREMENT, entry INTEGER NOT NULL, space TEXT NOT NULL);
CREATE TRIGGER entries_removed AFTER DELETE ON entries BEGIN
    INSERT INTO removals (entry, space) VALUES (old.id, old.space);
END;

-- The values that filters compare: one row per named value of a product or plain document.
CREATE TABLE facts (
    entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    value NOT NULL,
    PRIMARY KEY (entry, name)
) WITHOUT ROWID;
CREATE INDEX facts_by_value ON facts (name, type, value);
"""

MIGRATIONS: Final = {
    # Format 1 did not record verdicts. A caption for a question is found again as soon as a jury keeps it.
    1: """
ALTER TABLE captions ADD COLUMN general INTEGER NOT NULL DEFAULT 0;
ALTER TABLE captions ADD COLUMN verdict TEXT CHECK (verdict IN ('kept', 'rejected'));
ALTER TABLE captions ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
UPDATE captions SET
    general = json_extract(json, '$.context.task') = 'index',
    used_at = coalesce(CAST(strftime('%s', json_extract(json, '$.created_at')) AS INTEGER), 0);
CREATE INDEX captions_by_use ON captions (used_at) WHERE NOT general;
ALTER TABLE entries ADD COLUMN captioner TEXT;
DELETE FROM entries WHERE kind = 'caption' AND key NOT IN (SELECT key FROM captions WHERE general);
UPDATE entries SET captioner = (SELECT captioner FROM captions WHERE captions.key = entries.key)
    WHERE kind = 'caption';
CREATE INDEX entries_by_captioner ON entries (captioner) WHERE captioner IS NOT NULL;
""",
}
"""The statements that turn each older version of the schema into the next one."""
