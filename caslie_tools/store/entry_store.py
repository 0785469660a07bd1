"""A LangChain vector store on SQLite and FAISS: plain documents, and searching whatever has a text vector.

:class:`~caslie_tools.store.CaptionStore` adds products, captions and pictures to it.
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
from caslie_tools.store import documents, entries
from caslie_tools.store.asynchronous import asynchronous
from caslie_tools.store.database import Database
from caslie_tools.store.filters import Where, compile_filter
from caslie_tools.store.retriever import StoreRetriever
from caslie_tools.store.selection import Selections
from caslie_tools.store.vector_index import VectorIndex
from caslie_tools.store.vectors import (
    SPACE_NAMES,
    PictureSpace,
    SpaceName,
    TextSpace,
    Vector,
    require_dimension,
    unit_vectors,
)

if TYPE_CHECKING:
    from caslie_tools.images.embeddings import ImageEmbeddings


class EntryStore(VectorStore):
    """A LangChain vector store in a directory of its own.

    Scores are cosines in [-1, 1]; relevance scores are (1 + cosine) / 2, in [0, 1]. Searches see what any process has
    committed. All methods may be called from several threads. Filters apply before the ``k`` best are chosen; see
    :mod:`caslie_tools.store.filters` for their language.

    Use :meth:`open` or :meth:`in_memory` to get one.
    """

    def __init__(self, database: Database, embeddings: Embeddings, pictures: "ImageEmbeddings | None") -> None:
        self._database = database
        self._text = TextSpace(embeddings, database)
        self._picture = None if pictures is None else PictureSpace(pictures, database)
        self._indexes: dict[SpaceName, VectorIndex] = {name: VectorIndex(name, database) for name in SPACE_NAMES}
        self._selections = Selections()
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
        pictures: "ImageEmbeddings | None" = None,
        create: bool = True,
        busy_timeout_seconds: float = 5,
    ) -> Self:
        """Opens the store in a directory; no model is called yet.

        Args:
            path: The directory.
            embeddings: Makes the vectors of texts.
            pictures: Makes the vectors of pictures; without it none are made or searched.
            create: Whether to make a store if there is none.
            busy_timeout_seconds: How long a write waits for another writer.

        Raises:
            StoreNotFoundError: There is none, and ``create`` is false.
            StoreModelError: It was built with another embedding model.
            StoreVersionError: Another version of the package wrote it.
            StoreBusyError: It stayed locked.
            StoreError: It is damaged or cannot be read.
        """
        database = Database(Path(path), create=create, busy_timeout_seconds=busy_timeout_seconds)
        try:
            return cls(database, embeddings, pictures)
        except BaseException:
            database.close()
            raise

    @classmethod
    def in_memory(cls, embeddings: Embeddings, *, pictures: "ImageEmbeddings | None" = None) -> Self:
        """Makes a store that lasts as long as the object: a temporary directory, removed afterwards."""
        directory = Path(tempfile.mkdtemp(prefix="caslie-store-"))
        store = cls(Database(directory, create=True, durable=False), embeddings, pictures)
        store._discard.detach()
        store._discard = weakref.finalize(store, _discard, store._database, directory)
        return store

    def close(self) -> None:
        """Closes the store; a large change since the last snapshot of an index is saved first."""
        if self._discard.alive:
            for index in self._indexes.values():
                with index.lock:
                    if self._database.durable and index.worth_saving:
                        with suppress(StoreError):  # it only saves time
                            index.save()
            self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def checkpoint(self) -> None:
        """Writes the snapshots of the indexes and moves the write-ahead log into the database file.

        Only saves time at the next opening: nothing stored depends on it.

        Raises:
            StoreBusyError: Another writer kept the store locked.
            StoreError: The directory cannot be written to.
        """
        with self._searching("text", "picture"):
            for index in self._indexes.values():
                index.save()
        self._database.checkpoint()

    @property
    def path(self) -> Path:
        """The store's directory."""
        return self._database.directory

    @property
    def embeddings(self) -> Embeddings:
        """The model that makes the vectors of texts."""
        return self._text.embeddings

    @property
    def has_pictures(self) -> bool:
        """Whether pictures have vectors here, so that a picture can be searched for."""
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
        """Stores plain documents, all or none; one with the id of a stored one takes its place.

        Args:
            texts: Their contents.
            metadatas: JSON-able, one for each text.
            ids: Their ids; for ``None`` one is made up.
            **kwargs: None are known.

        Returns:
            The ids.

        Raises:
            InputError: The lists differ in length, an id is reserved, or metadata is not JSON-able.
        """
        _refuse(kwargs)
        contents = list(texts)
        if any(len(given) != len(contents) for given in (metadatas, ids) if given):
            raise InputError(f"{len(contents)} texts need as many metadatas and ids, where any are given")
        keys = [given or uuid.uuid4().hex for given in (ids or [None] * len(contents))]
        if reserved := [key for key in keys if documents.is_reserved(key)]:
            raise InputError(f"the id {reserved[0]!a} is reserved for products and captions: choose another prefix")
        encoded = [
            documents.encode_metadata(*pair) for pair in zip(keys, metadatas or [{}] * len(contents), strict=True)
        ]
        if not contents:
            return []
        vectors = self._text.embed_documents(contents)
        with self._database.write() as connection:
            self._text.bind(connection, vectors.shape[1])
            for row in zip(keys, contents, encoded, vectors, strict=True):
                documents.put(connection, *row)
        return keys

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Removes plain documents; ids that are not there are skipped. Products go with ``delete_products``.

        Args:
            ids: Which; ``None`` for every plain document.
            **kwargs: None are known.

        Raises:
            InputError: An id is a product's or caption's.
        """
        _refuse(kwargs)
        if reserved := [key for key in ids or () if documents.is_reserved(key)]:
            raise InputError(
                f"{reserved[0]!a} is no plain document: products and their captions are removed with delete_products"
            )
        with self._database.write() as connection:
            if ids is None:
                connection.execute("DELETE FROM entries WHERE kind = 'document'")
            for key in ids or ():
                entries.remove(connection, "document", key)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Returns documents by id in the order asked for, also products' and captions'; unknown ids are skipped."""
        with self._database.read() as connection:
            found = [documents.get(connection, key) for key in ids]
        return [document for document in found if document is not None]

    # --- LangChain: search --------------------------------------------------------------------------------------------

    def similarity_search(self, query: str, k: int = 4, *, filter: Where = None, **kwargs: Any) -> list[Document]:
        """Returns the ``k`` documents nearest to a text: plain ones, products and captions.

        Args:
            query: The text.
            k: How many at most.
            filter: Which to look among.
            **kwargs: None are known.

        Raises:
            FilterError: The filter cannot be understood.
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
        """Like :meth:`similarity_search`, each with its cosine, in [-1, 1]."""
        _refuse(kwargs)
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
        """Like :meth:`similarity_search`, by a vector of the store's model."""
        _refuse(kwargs)
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
        """Returns ``k`` documents near a text and unlike each other.

        Args:
            query: The text.
            k: How many at most.
            fetch_k: Among how many of the nearest they are chosen.
            lambda_mult: 1 for the nearest, 0 for the most diverse.
            filter: Which to look among.
            **kwargs: None are known.
        """
        _refuse(kwargs)
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
        """Like :meth:`max_marginal_relevance_search`, by a vector of the store's model."""
        _refuse(kwargs)
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
        """Makes a store of plain documents: in the directory ``path``, or in memory without one."""
        _refuse(kwargs)
        store = cls.in_memory(embedding) if path is None else cls.open(path, embedding)
        try:
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()
            raise
        return store

    acheckpoint = asynchronous(checkpoint)
    aclose = asynchronous(close)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: (1 + score) / 2

    @contextmanager
    def _searching(self, *spaces: SpaceName) -> Iterator[Connection]:
        # An index is one state in time: it is held from the transaction's first query, which fixes what is seen, to the
        # last search. Locks are taken in one order.
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
        vector = embed()  # before the lock: a model may take its time
        with self._searching("text") as connection:
            require_dimension(connection, "text", vector)
            allowed = None if condition is None else entries.allowed(connection, self._selections, "text", condition)
            hits = self._indexes["text"].search(vector, k, allowed=allowed)
            found = [(documents.of_entry(connection, entry), score, entry) for entry, score in hits]
            return [
                (document, score, entries.vector_of(connection, entry))
                for document, score, entry in found
                if document is not None
            ]

    def _diverse(
        self, embed: Callable[[], Vector], k: int, fetch_k: int, lambda_mult: float, where: Where
    ) -> list[Document]:
        from langchain_core.vectorstores.utils import maximal_marginal_relevance

        found = self._nearest(embed, max(k, fetch_k), where)
        if not found or k < 1:
            return []
        vectors: Any = [vector for _, _, vector in found]  # arrays will do, whatever the annotation says
        chosen = maximal_marginal_relevance(embed(), vectors, lambda_mult=lambda_mult, k=k)
        return [found[position][0] for position in chosen]


def _refuse(kwargs: dict[str, Any]) -> None:
    # An argument that is silently ignored, such as a misspelt filter, would answer another question.
    if kwargs:
        raise InputError(f"unknown argument {next(iter(kwargs))!a}: did you mean filter, k or ids?")


def _discard(database: Database, directory: Path) -> None:
    database.close()
    shutil.rmtree(directory, ignore_errors=True)
