"""The SQL schema of a store, and its version."""

from typing import Final

SCHEMA_VERSION: Final = 1
"""Written to ``PRAGMA user_version``. A store with another version is refused."""

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
CREATE TABLE captions (
    key TEXT PRIMARY KEY,
    image TEXT NOT NULL,
    captioner TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    context_vector BLOB,
    json TEXT NOT NULL
);
CREATE INDEX captions_by_image ON captions (image, captioner, prompt_version);

CREATE TABLE observations (
    image TEXT NOT NULL, observer TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (image, observer)
) WITHOUT ROWID;

-- Everything that has a vector. Ids are never reused, and an update is a removal and a new entry. So an index in any
-- process is updated by reading the entries and removals after the last ones it has read.
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    space TEXT NOT NULL CHECK (space IN ('text', 'picture')),
    kind TEXT NOT NULL CHECK (kind IN ('product', 'caption', 'image', 'document')),
    key TEXT NOT NULL,
    image TEXT,
    content TEXT,
    metadata TEXT,
    vector BLOB NOT NULL,
    UNIQUE (kind, key)
);
CREATE INDEX entries_by_space ON entries (space);
CREATE INDEX entries_by_image ON entries (image, kind) WHERE image IS NOT NULL;

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
