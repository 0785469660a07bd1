-- A store in format 1, as SQL. It has a product, a general caption, a caption for a question, and a document.
BEGIN TRANSACTION;
CREATE TABLE captions (
    key TEXT PRIMARY KEY,
    image TEXT NOT NULL,
    captioner TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    context_vector BLOB,
    json TEXT NOT NULL
);
INSERT INTO "captions" VALUES('67b2ac272e73c0e2eba9db41990478433d51adbdd0058d6120dff448d4f5dc4a','e222394642ae300ca81919eaa43388edf1cbb6b604d6c56e782f83a6eb855209','camera','1',NULL,'{"key":"67b2ac272e73c0e2eba9db41990478433d51adbdd0058d6120dff448d4f5dc4a","text":"a red mug","image":"e222394642ae300ca81919eaa43388edf1cbb6b604d6c56e782f83a6eb855209","context":{"task":"index","aim":"","focus":"","known":"","compared_with":"","question":""},"captioner":"camera","prompt_version":"1","evidence":[],"source":"generated","created_at":"2026-01-02T03:04:05.678901Z"}');
INSERT INTO "captions" VALUES('833275dd77446e3aeee4b5b2f0243adff9cf93dc69d5c616ff97fa4573ce8cc2','e222394642ae300ca81919eaa43388edf1cbb6b604d6c56e782f83a6eb855209','camera','1',X'6A2EDABCCAE304BF426F27BFE111C9BE126A97BE70EC27BECCDC36BEB569233D','{"key":"833275dd77446e3aeee4b5b2f0243adff9cf93dc69d5c616ff97fa4573ce8cc2","text":"a whale","image":"e222394642ae300ca81919eaa43388edf1cbb6b604d6c56e782f83a6eb855209","context":{"task":"product_qa","aim":"","focus":"what is drawn on it","known":"","compared_with":"","question":""},"captioner":"camera","prompt_version":"1","evidence":[],"source":"generated","created_at":"2026-01-02T03:04:05.678901Z"}');
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
INSERT INTO "entries" VALUES(1,'text','product','mug',NULL,NULL,NULL,X'7281323ED7B5FEBE82CEED3ED00E1D3F2C46F2BD147AC23D24C6823E4B3E513E');
INSERT INTO "entries" VALUES(2,'text','caption','67b2ac272e73c0e2eba9db41990478433d51adbdd0058d6120dff448d4f5dc4a','e222394642ae300ca81919eaa43388edf1cbb6b604d6c56e782f83a6eb855209',NULL,NULL,X'04D20EBF01DC00BF64A6B53E3A519B3E4CBE4E3EAACCCBBEA808EF3D0FE68BBD');
INSERT INTO "entries" VALUES(3,'text','caption','833275dd77446e3aeee4b5b2f0243adff9cf93dc69d5c616ff97fa4573ce8cc2','e222394642ae300ca81919eaa43388edf1cbb6b604d6c56e782f83a6eb855209',NULL,NULL,X'D83D203F66969EBDA471FCBE157BBEBEAD63BE3E69155E3D47BC3D3E8C8F593E');
INSERT INTO "entries" VALUES(4,'text','document','note',NULL,'delivery is free','{}',X'08B6003E05480C3EFCADF1BE22A3C1BEF00FFC3DC01085BE1A4DD33E7AB516BF');
CREATE TABLE facts (
    entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    value NOT NULL,
    PRIMARY KEY (entry, name)
) WITHOUT ROWID;
INSERT INTO "facts" VALUES(1,'id','text','mug');
INSERT INTO "facts" VALUES(1,'price','number',5.0);
INSERT INTO "facts" VALUES(1,'title','text','mug');
CREATE TABLE images (
    sha256 TEXT PRIMARY KEY, media_type TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL
);
INSERT INTO "images" VALUES('e222394642ae300ca81919eaa43388edf1cbb6b604d6c56e782f83a6eb855209','image/png',160,120);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('created_by','0.1.0');
INSERT INTO "meta" VALUES('store_id','490c92b50ba549629879a4dd999b52c3');
CREATE TABLE observations (
    image TEXT NOT NULL, observer TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (image, observer)
) WITHOUT ROWID;
CREATE TABLE product_images (
    product TEXT NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    image TEXT REFERENCES images (sha256),
    reference TEXT NOT NULL,
    PRIMARY KEY (product, position)
) WITHOUT ROWID;
INSERT INTO "product_images" VALUES('mug',0,'e222394642ae300ca81919eaa43388edf1cbb6b604d6c56e782f83a6eb855209','{"path":"mug-0.png"}');
CREATE TABLE products (id TEXT PRIMARY KEY, digest TEXT NOT NULL, json TEXT NOT NULL);
INSERT INTO "products" VALUES('mug','ad95dde9238f8c08d66281b644ad8e20d61bd9fb68f581b0dccd563bcb7f907c','{"id":"mug","title":"mug","description":"","category":"","price":5.0,"brand":"","attributes":{},"images":[]}');
CREATE TABLE removals (sequence INTEGER PRIMARY KEY AUTOINCREMENT, entry INTEGER NOT NULL, space TEXT NOT NULL);
CREATE TABLE spaces (
    name TEXT PRIMARY KEY, identity TEXT NOT NULL, dimension INTEGER NOT NULL, fingerprint BLOB
) WITHOUT ROWID;
INSERT INTO "spaces" VALUES('text','hash-embeddings-8',8,X'ADCAAF3E67B5F5BE3BE7F3BD03E68FBD07F620BEEEF9813E6CA302BF743708BF');
CREATE INDEX product_images_by_image ON product_images (image);
CREATE INDEX captions_by_image ON captions (image, captioner, prompt_version);
CREATE INDEX entries_by_space ON entries (space);
CREATE INDEX entries_by_image ON entries (image, kind) WHERE image IS NOT NULL;
CREATE TRIGGER entries_removed AFTER DELETE ON entries BEGIN
    INSERT INTO removals (entry, space) VALUES (old.id, old.space);
END;
CREATE INDEX facts_by_value ON facts (name, type, value);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('removals',0);
INSERT INTO "sqlite_sequence" VALUES('entries',4);
COMMIT;
PRAGMA application_id = 1129532485;
PRAGMA user_version = 1;
