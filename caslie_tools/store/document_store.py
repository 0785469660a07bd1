"""A LangChain vector store on SQLite and FAISS: plain documents, and searches over all entries with a text vector.

:class:`~caslie_tools.store.CaptionStore` adds products, captions and images.
"""

import shutil
import tempfile
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from caslie_tools.exceptions import InputError, StoreError
from caslie_tools.store import documents, entry_table
from caslie_tools.store.async_twins import async_twin
from caslie_tools.store.database import Database
from caslie_tools.store.filters import Where, compile_filter
from caslie_tools.store.id_sets import IdSet, IdSetCache
from caslie_tools.store.ranking import SpaceQuery, nearest_entries
from caslie_tools.store.retriever import StoreRetriever
from caslie_tools.store.spaces import PictureSpace, TextSpace, require_dimension
from caslie_tools.store.vector_index import VectorIndex
from caslie_tools.store.vectors import SPACE_NAMES, SpaceName, Vector, unit_vectors

if TYPE_CHECKING:
    from caslie_tools.images.embeddings import ImageEmbeddings


class DocumentStore(VectorStore):
    """A LangChain vector store in a directory. Create it with :meth:`open` or :meth:`in_memory`.

    Scores are cosines in [-1, 1]. Relevance scores are (1 + cosine) / 2, in [0, 1]. A search sees everything that any
    process has committed. A filter is applied before the ``k`` best documents are chosen; see
    :mod:`caslie_tools.store.filters` for its syntax. All methods can be called from several threads.
    """

    def __init__(self, database: Database, embeddings: Embeddings, image_embeddings: "ImageEmbeddings | None") -> None:
        self._database = database
        self._text = TextSpace(embeddings, database)
        self._picture = None if image_embeddings is None else PictureSpace(image_embeddings, database)
        self._indexes: dict[SpaceName, VectorIndex] = {name: VectorIndex(name, database) for name in SPACE_NAMES}
        self._id_sets = IdSetCache()
        self.captioners: tuple[str, ...] | None = None
        """Identities of the captioners whose captions searches return. ``None`` for all captioners."""
        self.captions_per_image: int | None = None
        """Most captions for questions that are kept of an image. ``None`` for any number."""
        self._discard: weakref.finalize[..., Any] = weakref.finalize(self, database.close)
        with database.read() as connection:
            for space in (self._text, self._picture):
                if space is not None:
                    space.check_identity(connection)

    @classmethod
    def open(
        cls,
        path: Path | str,
        embeddings: Embeddings,
        *,
        image_embeddings: "ImageEmbeddings | None" = None,
        create: bool = True,
        busy_timeout_seconds: float = 5,
    ) -> Self:
        """Opens the store in a directory. It does not call a model.

        Args:
            path: The directory.
            embeddings: The model that embeds texts.
            image_embeddings: The model that embeds images. Without it, images are stored without vectors and cannot be
                searched.
            create: Create the store if it does not exist. Its files are created by the first write.
            busy_timeout_seconds: How long a write waits for another writer.

        Raises:
            StoreNotFoundError: If there is no store and ``create`` is false.
            StoreModelError: If the store was built with another embedding model.
            StoreVersionError: If another version of the package wrote the store.
            StoreBusyError: If the store stayed locked for longer than the timeout.
            StoreError: If the store is damaged or not accessible.
        """
        database = Database(Path(path), create=create, busy_timeout_seconds=busy_timeout_seconds)
        try:
            return cls(database, embeddings, image_embeddings)
        except BaseException:
            database.close()
            raise

    @classmethod
    def in_memory(cls, embeddings: Embeddings, *, image_embeddings: "ImageEmbeddings | None" = None) -> Self:
        """Creates a store in a temporary directory, which is removed together with the returned object."""
        directory = Path(tempfile.mkdtemp(prefix="caslie-store-"))
        store = cls(Database(directory, create=True, durable=False), embeddings, image_embeddings)
        store._discard.detach()
        store._discard = weakref.finalize(store, _discard, store._database, directory)
        return store

    def close(self) -> None:
        """Closes the store. If an index has changed considerably since its last snapshot, it is saved first."""
        if self._discard.alive:
            for index in self._indexes.values():
                with index.lock:
                    if self._database.durable and index.worth_saving:
                        with suppress(StoreError):  # a snapshot only saves time
                            index.save()
            self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def checkpoint(self) -> None:
        """Writes the snapshots of the indexes, and moves the write-ahead log into the database file.

        This only makes the next start faster. Committed data is safe without it.

        Raises:
            StoreBusyError: If another writer kept the store locked.
            StoreError: If the directory is not writable.
        """
        with self._searching("text", "picture"):
            for index in self._indexes.values():
                index.save()
        self._database.checkpoint()

    @property
    def path(self) -> Path:
        """The directory of the store."""
        return self._database.directory

    @property
    def embeddings(self) -> Embeddings:
        """The model that embeds texts."""
        return self._text.embeddings

    @property
    def has_pictures(self) -> bool:
        """Whether the store was opened with a model that embeds images, so that images can be searched."""
        return self._picture is not None

    # --- LangChain: plain documents -----------------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Stores plain documents in one transaction. A document replaces one with the same id.

        Args:
            texts: The contents.
            metadatas: One mapping for each text, with values that JSON can represent.
            ids: One id for each text; a random id is assigned in place of ``None``.
            **kwargs: Not supported.

        Returns:
            The ids.

        Raises:
            InputError: If the lists differ in length, an id is reserved, or JSON cannot represent the metadata.
        """
        _refuse_unknown(kwargs)
        contents = list(texts)
        if any(len(given) != len(contents) for given in (metadatas, ids) if given):
            raise InputError(f"there are {len(contents)} texts; pass as many metadatas and as many ids, or none")
        keys = [key or uuid.uuid4().hex for key in (ids or [None] * len(contents))]
        if reserved := [key for key in keys if documents.is_reserved(key)]:
            raise InputError(f"the id {reserved[0]!a} is reserved for products and captions; choose another prefix")
        encoded = [
            documents.encode_metadata(*pair) for pair in zip(keys, metadatas or [{}] * len(contents), strict=True)
        ]
        if not contents:
            return []
        vectors = self._text.embed_documents(contents)
        with self._database.write() as connection:
            self._text.record_model(connection, vectors.shape[1])
            for row in zip(keys, contents, encoded, vectors, strict=True):
                documents.put(connection, *row)
        return keys

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Removes plain documents. Unknown ids are skipped. Use ``delete_products`` for products.

        Args:
            ids: The ids; ``None`` for all plain documents.
            **kwargs: Not supported.

        Raises:
            InputError: If an id belongs to a product or caption.
        """
        _refuse_unknown(kwargs)
        if reserved := [key for key in ids or () if documents.is_reserved(key)]:
            raise InputError(
                f"{reserved[0]!a} is not a plain document; use delete_products to remove products and their captions"
            )
        with self._database.write() as connection:
            if ids is None:
                connection.execute("DELETE FROM entries WHERE kind = 'document'")
            for key in ids or ():
                entry_table.remove(connection, "document", key)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Returns documents, products and captions by id, in the order of the ids. Unknown ids are skipped."""
        with self._database.read() as connection:
            found = [documents.get(connection, key) for key in ids]
        return [document for document in found if document is not None]

    # --- LangChain: search --------------------------------------------------------------------------------------------

    def similarity_search(self, query: str, k: int = 4, *, filter: Where = None, **kwargs: Any) -> list[Document]:
        """Returns the ``k`` documents nearest to a text: plain documents, products and captions.

        Args:
            query: The text.
            k: Maximum number of documents.
            filter: Only documents that match this filter.
            **kwargs: Not supported.

        Raises:
            FilterError: If the filter is invalid.
        """
        return [document for document, _ in self.similarity_search_with_score(query, k, filter=filter, **kwargs)]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Where = None,
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        """Like :meth:`similarity_search`, but returns each document with its cosine, in [-1, 1]."""
        _refuse_unknown(kwargs)
        return [
            (document, score) for document, score, _ in self._nearest(lambda: self._text.embed_query(query), k, filter)
        ]

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        *,
        filter: Where = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Like :meth:`similarity_search`, but takes a vector of the embedding model."""
        _refuse_unknown(kwargs)
        return [document for document, _, _ in self._nearest(lambda: unit_vectors([embedding], 1)[0], k, filter)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Where = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Returns ``k`` documents that are near a text and different from each other.

        Args:
            query: The text.
            k: Maximum number of documents.
            fetch_k: Number of the nearest documents from which they are chosen.
            lambda_mult: 1 for the nearest documents, 0 for the most diverse documents.
            filter: Only documents that match this filter.
            **kwargs: Not supported.
        """
        _refuse_unknown(kwargs)
        return self._diverse(lambda: self._text.embed_query(query), k, fetch_k, lambda_mult, filter)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Where = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Like :meth:`max_marginal_relevance_search`, but takes a vector of the embedding model."""
        _refuse_unknown(kwargs)
        return self._diverse(lambda: unit_vectors([embedding], 1)[0], k, fetch_k, lambda_mult, filter)

    def as_retriever(self, **kwargs: Any) -> StoreRetriever:
        """Returns a retriever over this store; see :class:`StoreRetriever` for the arguments."""
        tags = kwargs.pop("tags", None) or self._get_retriever_tags()
        return StoreRetriever(vectorstore=self, tags=tags, **kwargs)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: Path | str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Creates a store of plain documents in the directory ``path``, or in memory if there is no path."""
        _refuse_unknown(kwargs)
        store = cls.in_memory(embedding) if path is None else cls.open(path, embedding)
        try:
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()
            raise
        return store

    acheckpoint = async_twin(checkpoint)
    aclose = async_twin(close)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: (1 + score) / 2

    @contextmanager
    def _searching(self, *spaces: SpaceName) -> Iterator[Connection]:
        # The locks are held from the first query of the transaction, which fixes the state it reads, to the last
        # search. So no other thread can update an index in between. Locks are always taken in the same order.
        with ExitStack() as held:
            indexes = [index for name, index in self._indexes.items() if name in spaces]
            for index in indexes:
                held.enter_context(index.lock)
            connection = held.enter_context(self._database.read())
            for index in indexes:
                index.catch_up(connection)
            yield connection

    def _nearest(self, embed: Callable[[], Vector], k: int, where: Where) -> list[tuple[Document, float, Vector]]:
        condition = compile_filter(where)
        vector = embed()  # before the lock, because a model may be slow
        with self._searching("text") as connection:
            require_dimension(connection, "text", vector)
            allowed = (
                None if condition is None else entry_table.allowed_entries(connection, self._id_sets, "text", condition)
            )
            query = SpaceQuery(
                space="text",
                index=self._indexes["text"],
                vector=vector,
                weight=1,
                allowed=allowed,
                hidden=self._hidden(connection),
            )
            found = [
                (documents.document_of(connection, entry), score, entry_vector)
                for entry, score, entry_vector in nearest_entries(connection, query, k)
            ]
            return [(document, score, entry_vector) for document, score, entry_vector in found if document is not None]

    def _hidden(self, connection: Connection) -> IdSet:
        return entry_table.hidden_captions(connection, self._id_sets, self.captioners)

    def _diverse(
        self, embed: Callable[[], Vector], k: int, fetch_k: int, lambda_mult: float, where: Where
    ) -> list[Document]:
        from langchain_core.vectorstores.utils import maximal_marginal_relevance

        found = self._nearest(embed, max(k, fetch_k), where)
        if not found or k < 1:
            return []
        vectors: Any = [vector for _, _, vector in found]  # the function also accepts arrays, unlike its annotation
        chosen = maximal_marginal_relevance(embed(), vectors, lambda_mult=lambda_mult, k=k)
        return [found[position][0] for position in chosen]


def _refuse_unknown(kwargs: dict[str, Any]) -> None:
    # Ignoring an argument, such as a misspelled filter, would return wrong results.
    if kwargs:
        raise InputError(f"unknown argument {next(iter(kwargs))!a}; the supported arguments are filter, k and ids")


def _discard(database: Database, directory: Path) -> None:
    database.close()
    shutil.rmtree(directory, ignore_errors=True)
