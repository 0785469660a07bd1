"""The caption store: captions by image and context, and what was observed in images, on top of the products."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from caslie_tools.domain import Caption, QueryContext, caption_key
from caslie_tools.exceptions import InputError
from caslie_tools.store import captions as caption_rows
from caslie_tools.store import products as product_rows
from caslie_tools.store.asynchronous import asynchronous
from caslie_tools.store.database import SCHEMA_VERSION
from caslie_tools.store.product_store import ProductStore
from caslie_tools.store.results import StoreStats
from caslie_tools.store.vectors import cosine

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")


class CaptionStore(ProductStore):
    """Products with their images, captions by image and context, and vectors of texts and pictures.

    It is a LangChain vector store too: its searches return products, captions and plain documents side by side.

    SQLite holds everything, vectors included; each call that writes is one transaction, so what one product or caption
    consists of is stored whole or not at all, and what has been acknowledged survives a crash. The FAISS indexes beside
    it are derived and may be deleted at any time. Several threads and processes may use one store at once.

    Images are known by the SHA-256 (hex) of their bytes; the bytes themselves are not stored.
    """

    def put_captions(self, items: Sequence[Caption]) -> None:
        """Stores captions, all or none. Storing the same again changes nothing; another text takes the old one's place.

        Raises:
            ModelError: The embedding model failed.
            StoreBusyError: Another writer kept the store locked.
        """
        with self._database.read() as connection:
            new = [item for item in items if not caption_rows.is_stored(connection, item)]
        if not new:
            return
        # A caption that says nothing is remembered, but there is nothing to find it by.
        texts = list(dict.fromkeys(item.text for item in new if item.text.strip()))
        vectors = dict(zip(texts, self._text.embed_documents(texts), strict=True))
        contexts = {text: self._text.embed_query(text) for item in new if (text := item.context.text).strip()}
        with self._database.write() as connection:
            for vector in (*vectors.values(), *contexts.values()):
                self._text.bind(connection, len(vector))
            for item in new:
                caption_rows.put(connection, item, vectors.get(item.text), contexts.get(item.context.text))

    def get_caption(self, key: str) -> Caption | None:
        """Returns the caption of a key (:func:`~caslie_tools.domain.caption_key`), if there is one."""
        with self._database.read() as connection:
            return caption_rows.get(connection, key)

    def find_caption(
        self, image: str, context: QueryContext, *, captioner: str, prompt_version: str, threshold: float
    ) -> tuple[Caption, float] | None:
        """Finds a caption of an image to reuse in a context: the one made for it, else for the nearest context.

        Contexts are compared by their text, and those with other numbers in it are never near: to a sentence
        embedding 750 ml and 500 ml are all but the same. A general caption, made for a context without text, is reused
        only in that very context. Only captions of the same captioner and prompt version count.

        Args:
            image: SHA-256 (hex) of the image's bytes.
            context: What it is for now.
            captioner: Identity of the captioner.
            prompt_version: Version of its prompt.
            threshold: Least cosine of the two contexts' texts.

        Returns:
            The caption and the cosine, 1 for the very context; ``None`` if there is none near enough. Among equally
            near ones that with the lowest key.
        """
        with self._database.read() as connection:
            exact = caption_rows.get(connection, caption_key(image, context, captioner, prompt_version))
            if exact is not None:
                return exact, 1.0
            candidates = (
                caption_rows.alike(connection, image, captioner, prompt_version) if context.text.strip() else []
            )
        if not candidates:
            return None
        vector = self._text.embed_query(context.text)
        ranked = sorted((-cosine(vector, other), key) for key, other in candidates)
        for distance, key in ranked:
            if -distance < threshold:
                break
            caption = self.get_caption(key)  # another process may have removed it since
            if caption is not None and _numbers(caption.context.text) == _numbers(context.text):
                return caption, -distance
        return None

    def captions(self, product_id: str | None = None, *, image: str | None = None) -> list[Caption]:
        """Returns captions, image by image, each image's oldest first.

        Args:
            product_id: Only of this product's images.
            image: Only of this image.

        Raises:
            UnknownProductError: There is no such product.
        """
        with self._database.read() as connection:
            wanted = None if image is None else [image]
            if product_id is not None:
                product_rows.require(connection, product_id)
                shown = [shown for shown in product_rows.images_of(connection, product_id) if shown is not None]
                wanted = shown if wanted is None else [image for image in wanted if image in shown]
            return caption_rows.of_images(connection, wanted)

    def get_observation(self, image: str, observer: str) -> dict[str, Any] | None:
        """Returns what a perception model saw in an image, if it was remembered."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT json FROM observations WHERE image = ? AND observer = ?", (image, observer)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def put_observation(self, image: str, observer: str, value: Mapping[str, Any]) -> None:
        """Remembers what a perception model saw in an image, in place of what it saw before.

        Args:
            image: SHA-256 (hex) of the image's bytes.
            observer: Identity of the perception model, its version and settings included.
            value: Plain JSON.
        """
        try:
            text = json.dumps(dict(value), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"the observation of {observer!a} is not plain JSON: {error}") from error
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO observations VALUES (?, ?, ?)", (image, observer, text))

    def stats(self) -> StoreStats:
        """Counts what the store holds."""
        with self._database.read() as connection:

            def one(query: str) -> Any:
                row = connection.execute(query).fetchone()
                return None if row is None else row[0]

            return StoreStats(
                products=one("SELECT count(*) FROM products"),
                images=one("SELECT count(*) FROM images"),
                captions=one("SELECT count(*) FROM captions"),
                documents=one("SELECT count(*) FROM entries WHERE kind = 'document'"),
                observations=one("SELECT count(*) FROM observations"),
                text_vectors=one("SELECT count(*) FROM entries WHERE space = 'text'"),
                picture_vectors=one("SELECT count(*) FROM entries WHERE space = 'picture'"),
                bytes=sum(path.stat().st_size for path in self.path.iterdir() if path.is_file()),
                schema_version=SCHEMA_VERSION,
                created_by=one("SELECT value FROM meta WHERE name = 'created_by'"),
                text_model=one("SELECT identity FROM spaces WHERE name = 'text'"),
                picture_model=one("SELECT identity FROM spaces WHERE name = 'picture'"),
            )

    aput_captions = asynchronous(put_captions)
    aget_caption = asynchronous(get_caption)
    afind_caption = asynchronous(find_caption)
    acaptions = asynchronous(captions)
    aget_observation = asynchronous(get_observation)
    aput_observation = asynchronous(put_observation)
    astats = asynchronous(stats)


def _numbers(text: str) -> list[str]:
    return sorted(_NUMBER.findall(text))
