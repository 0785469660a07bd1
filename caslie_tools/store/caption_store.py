"""The caption store: products, captions by image and context, and observations of images."""

import json
import time
from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from typing import Any

from caslie_tools.domain import Caption, QueryContext, caption_key
from caslie_tools.exceptions import InputError
from caslie_tools.store import caption_retention, caption_table, product_table
from caslie_tools.store.async_twins import async_twin
from caslie_tools.store.caption_table import StoredCaption
from caslie_tools.store.product_store import ProductStore
from caslie_tools.store.results import StoreStats
from caslie_tools.store.schema import SCHEMA_VERSION
from caslie_tools.store.vectors import cosine


class CaptionStore(ProductStore):
    """Stores products with their images, captions by image and context, and vectors of texts and images.

    It is also a LangChain vector store: its searches return products, captions and plain documents.

    SQLite holds all data, vectors included. Each method that writes is one transaction: it is stored completely or not
    at all, and it survives a crash once the method has returned. The FAISS indexes are derived from SQLite and can be
    deleted at any time. Several threads and processes can use the same store.

    An image is identified by the SHA-256 (hex) of its bytes. The store does not hold the bytes.
    """

    def put_captions(self, items: Sequence[Caption], *, verdicts: Mapping[str, bool] | None = None) -> None:
        """Stores captions, or their use, in one transaction. A caption replaces one with the same key.

        Searches find a caption only if it is a general one (:attr:`~caslie_tools.domain.QueryContext.is_general`) or if
        a jury kept it. Any other caption is stored so that it is not made again, but no search returns it.

        Args:
            items: New captions, and stored captions that were used again.
            verdicts: Whether a jury kept the caption, by its key. A caption that a jury has kept for one question stays
                kept if it is rejected for a similar one.

        Raises:
            ModelError: If the embedding model failed.
            StoreBusyError: If another writer kept the store locked.
        """
        now, verdicts = int(time.time()), verdicts or {}
        images = {caption.image for caption in items if not caption.context.is_general}
        with self._database.read() as connection:
            changed, used = _changed(connection, items, verdicts, now)
        if not changed and not used:
            return
        texts = list(dict.fromkeys(item.caption.text for item in changed if item.searchable))
        vectors = dict(zip(texts, self._text.embed_documents(texts), strict=True))
        contexts = {
            text: self._text.embed_query(text) for item in changed if (text := item.caption.context.text).strip()
        }
        with self._database.write() as connection:
            for vector in (*vectors.values(), *contexts.values()):
                self._text.record_model(connection, len(vector))
            for item in changed:
                vector_of_text = vectors[item.caption.text] if item.searchable else None
                caption_table.put(connection, item, vector_of_text, contexts.get(item.caption.context.text))
            for item in used:
                caption_table.record_use(connection, item)
            if self.captions_per_image is not None:
                caption_retention.limit_per_image(connection, images, self.captions_per_image)

    def repeated_general_captions(self) -> list[Caption]:
        """Returns the general captions of images that have several by one captioner, as after a new title."""
        with self._database.read() as connection:
            return caption_retention.repeated_general(connection)

    def remove_captions(self, keys: Sequence[str]) -> None:
        """Removes captions by their keys. Searches no longer find them."""
        if keys:
            with self._database.write() as connection:
                caption_retention.remove(connection, keys)

    def remove_unused_captions(self, seconds: float) -> int:
        """Removes captions for questions that were not used for some time; returns their number.

        The time of a use is recorded to the day.

        Args:
            seconds: The time since the last use.
        """
        with self._database.write() as connection:
            return caption_retention.drop_unused(connection, int(time.time() - seconds))

    def caption_verdict(self, key: str) -> bool | None:
        """Returns whether a jury kept a caption; ``None`` if no jury has judged it, or if it is not in the store."""
        with self._database.read() as connection:
            stored = caption_table.find(connection, key)
        return None if stored is None else stored.verdict

    def get_caption(self, key: str) -> Caption | None:
        """Returns the caption with a key (:func:`~caslie_tools.domain.caption_key`), or ``None``."""
        with self._database.read() as connection:
            return caption_table.get(connection, key)

    def find_caption(
        self, image: str, context: QueryContext, *, captioner: str, prompt_version: str, threshold: float
    ) -> tuple[Caption, float] | None:
        """Finds a caption of an image that can be reused in a context.

        A caption that was made for the context itself comes first, then the caption with the nearest context. Contexts
        are compared by their text. A caption is not reused if the numbers in the two texts differ, because sentence
        embeddings hardly distinguish 750 ml from 500 ml. A general caption, made for a context without text, is reused
        only in that context. Only captions of the same captioner and prompt version are considered.

        Args:
            image: SHA-256 (hex) of the bytes of the image.
            context: The context in which the caption is needed.
            captioner: Identity of the captioner.
            prompt_version: Version of its prompt.
            threshold: Minimum cosine of the texts of the two contexts.

        Returns:
            The caption and the cosine, which is 1 for the context itself. ``None`` if no context is near enough. Of two
            contexts at the same distance, the caption with the lower key is returned.
        """
        with self._database.read() as connection:
            exact = caption_table.get(connection, caption_key(image, context, captioner, prompt_version))
            if exact is not None:
                return exact, 1.0
            candidates = (
                caption_table.context_vectors(connection, image, captioner, prompt_version)
                if context.text.strip()
                else []
            )
        if not candidates:
            return None
        vector = self._text.embed_query(context.text)
        ranked = sorted((-cosine(vector, other), key) for key, other in candidates)
        for distance, key in ranked:
            if -distance < threshold:
                break
            caption = self.get_caption(key)  # another process may have removed it in the meantime
            if caption is not None and caption_table.same_numbers(caption.context.text, context.text):
                return caption, -distance
        return None

    def captions(self, product_id: str | None = None, *, image: str | None = None) -> list[Caption]:
        """Returns captions, grouped by image. The oldest caption of an image comes first.

        Args:
            product_id: Only captions of the images of this product.
            image: Only captions of this image.

        Raises:
            UnknownProductError: If the store has no product with this id.
        """
        with self._database.read() as connection:
            images = None if image is None else [image]
            if product_id is not None:
                product_table.require(connection, product_id)
                of_product = [found for found in product_table.images_of(connection, product_id) if found is not None]
                images = of_product if images is None else [found for found in images if found in of_product]
            return caption_table.captions_of(connection, images)

    def get_observation(self, image: str, observer: str) -> dict[str, Any] | None:
        """Returns the stored observation of an image by a perception model, or ``None``."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT json FROM observations WHERE image = ? AND observer = ?", (image, observer)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def put_observation(self, image: str, observer: str, value: Mapping[str, Any]) -> None:
        """Stores the observation of an image by a perception model. It replaces an earlier one.

        Args:
            image: SHA-256 (hex) of the bytes of the image.
            observer: Identity of the perception model, with its version and settings.
            value: The observation, with values that JSON can represent.

        Raises:
            InputError: If JSON cannot represent the observation.
        """
        try:
            text = json.dumps(dict(value), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"the observation of {observer!a} cannot be stored as JSON: {error}") from error
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO observations VALUES (?, ?, ?)", (image, observer, text))

    def stats(self) -> StoreStats:
        """Returns the number of items in the store, its size, and the models that it was built with."""
        with self._database.read() as connection:

            def value(query: str) -> Any:
                row = connection.execute(query).fetchone()
                return None if row is None else row[0]

            return StoreStats(
                products=value("SELECT count(*) FROM products"),
                images=value("SELECT count(*) FROM images"),
                captions=value("SELECT count(*) FROM captions"),
                documents=value("SELECT count(*) FROM entries WHERE kind = 'document'"),
                observations=value("SELECT count(*) FROM observations"),
                text_vectors=value("SELECT count(*) FROM entries WHERE space = 'text'"),
                picture_vectors=value("SELECT count(*) FROM entries WHERE space = 'picture'"),
                bytes=sum(path.stat().st_size for path in self.path.glob("*") if path.is_file()),
                schema_version=SCHEMA_VERSION,
                created_by=value("SELECT value FROM meta WHERE name = 'created_by'"),
                text_model=value("SELECT identity FROM spaces WHERE name = 'text'"),
                picture_model=value("SELECT identity FROM spaces WHERE name = 'picture'"),
            )

    aput_captions = async_twin(put_captions)
    acaption_verdict = async_twin(caption_verdict)
    aget_caption = async_twin(get_caption)
    afind_caption = async_twin(find_caption)
    acaptions = async_twin(captions)
    arepeated_general_captions = async_twin(repeated_general_captions)
    aremove_captions = async_twin(remove_captions)
    aremove_unused_captions = async_twin(remove_unused_captions)
    aget_observation = async_twin(get_observation)
    aput_observation = async_twin(put_observation)
    astats = async_twin(stats)


def _changed(
    connection: Connection, items: Sequence[Caption], verdicts: Mapping[str, bool], now: int
) -> tuple[list[StoredCaption], list[StoredCaption]]:
    """Returns the captions that must be written, and those of which only the verdict or the last use has changed."""
    changed: dict[str, StoredCaption] = {}
    used: dict[str, StoredCaption] = {}
    for caption in {item.key: item for item in items}.values():
        verdict = verdicts.get(caption.key)
        stored = caption_table.find(connection, caption.key)
        updated = StoredCaption(caption, verdict, now) if stored is None else stored.updated(caption, verdict, now)
        if stored is None or updated.caption is not stored.caption or updated.searchable != stored.searchable:
            changed[caption.key] = updated
        elif updated != stored:
            used[caption.key] = updated
    return list(changed.values()), list(used.values())
