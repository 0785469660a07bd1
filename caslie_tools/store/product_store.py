"""Products in the store: writing, reading and searching them."""

from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from caslie_tools.domain import ImageRef, Product
from caslie_tools.exceptions import ImageError, InputError, UnknownProductError
from caslie_tools.store import caption_retention, caption_table, entry_table, product_table
from caslie_tools.store.async_twins import async_twin
from caslie_tools.store.document_store import DocumentStore
from caslie_tools.store.filters import Condition, Where, compile_filter
from caslie_tools.store.id_sets import Ids
from caslie_tools.store.ranking import RankedProduct, SpaceQuery, rank_products
from caslie_tools.store.results import Match, PictureHit, ProductHit
from caslie_tools.store.spaces import PictureSpace, require_dimension
from caslie_tools.store.uploads import Uploads
from caslie_tools.store.vectors import SPACE_NAMES, Vector, from_blob, unit_vectors

if TYPE_CHECKING:
    from caslie_tools.images.loading import LoadedImage


class ProductStore(DocumentStore):
    """A LangChain vector store that also holds products with their images, and searches them by text and image."""

    def put_products(self, items: "Sequence[tuple[Product, Sequence[LoadedImage | str | None]]]") -> None:
        """Stores products in one transaction. A product replaces one with the same id.

        Captions for questions about a title, brand, category or description that a product no longer has are removed.

        Args:
            items: Each product with one item for each of its image references: the image, the SHA-256 (hex) of an image
                that is already stored, or ``None`` for an image that could not be read.

        Raises:
            InputError: If the number of images of a product differs from the number of its references.
            ModelError: If an embedding model failed.
            StoreBusyError: If another writer kept the store locked.
        """
        for product, images in items:
            if len(images) != len(product.images):
                raise InputError(
                    f"the product {product.id!a} has {len(product.images)} image references, but {len(images)} images; "
                    "pass one image for each reference, and None for an image that could not be read"
                )
        if not items:
            return
        vectors = self._text.embed_documents([product.text or product.id for product, _ in items])
        loaded = [image for _, images in items for image in images if image is not None and not isinstance(image, str)]
        by_hash = {image.sha256: image for image in loaded}
        image_vectors: dict[str, Vector] = {}
        if self._picture is not None and by_hash:
            image_vectors = dict(zip(by_hash, self._picture.embed(list(by_hash.values())), strict=True))
        with self._database.write() as connection:
            self._text.record_model(connection, vectors.shape[1])
            if self._picture is not None and image_vectors:
                self._picture.record_model(connection, len(next(iter(image_vectors.values()))))
            for (product, images), vector in zip(items, vectors, strict=True):
                old = product_table.get(connection, product.id)
                product_table.put(connection, product, images, vector, image_vectors)
                if old is not None:
                    caption_retention.retire(connection, old, product)

    def get_product(self, product_id: str) -> Product:
        """Returns a product.

        Raises:
            UnknownProductError: If the store has no product with this id.
        """
        with self._database.read() as connection:
            return product_table.require(connection, product_id)

    def find_product(self, product_id: str) -> Product | None:
        """Returns a product, or ``None`` if the store has no product with this id."""
        with self._database.read() as connection:
            return product_table.get(connection, product_id)

    def get_products(self, product_ids: Sequence[str]) -> list[Product]:
        """Returns products in the order of the ids.

        Raises:
            UnknownProductError: If the store has no product with one of the ids.
        """
        with self._database.read() as connection:
            return [product_table.require(connection, product_id) for product_id in product_ids]

    def product_ids(self, where: Where = None) -> list[str]:
        """Returns the ids of all products, or of the products that match a filter, sorted."""
        condition = compile_filter(where, products_only=True)
        with self._database.read() as connection:
            if condition is not None:
                entry_table.require_attributes(connection, condition)
                return sorted(entry_table.matching_products(connection, self._id_sets, condition))
            return [product_id for (product_id,) in connection.execute("SELECT id FROM products ORDER BY id")]

    def product_digest(self, product_id: str) -> str | None:
        """Returns the digest of a product (:func:`~caslie_tools.store.digest_product`), or ``None``."""
        with self._database.read() as connection:
            row = connection.execute("SELECT digest FROM products WHERE id = ?", (product_id,)).fetchone()
        return None if row is None else row[0]

    def images_of(self, product_id: str) -> list[str | None]:
        """Returns the images of a product by position, with ``None`` for an image that could not be read.

        The result is empty if the product is not in the store.
        """
        with self._database.read() as connection:
            return product_table.images_of(connection, product_id)

    def resolve_image(self, ref: ImageRef) -> ImageRef:
        """Returns the location of an image in this store. Any other reference is returned as it is.

        Raises:
            ImageError: If the store does not have the image, or no longer.
        """
        if ref.stored is None:
            return ref
        if (upload := self._uploads.find(ref.stored)) is not None:
            return upload
        try:
            _, position, product_id = ref.stored.split("/", 2)
            return self.get_product(product_id).images[int(position)]
        except (UnknownProductError, IndexError, ValueError) as error:
            raise ImageError(f"image {ref.label!r} is not in the store any more") from error

    @property
    def _uploads(self) -> Uploads:
        return Uploads(self._database.directory / "uploads")

    def put_upload(self, data: bytes) -> ImageRef:
        """Keeps an image that a request brought, for a limited time, and returns a reference to it.

        Raises:
            StoreError: If it cannot be written.
        """
        return self._uploads.put(data)

    def products_of(self, image: str) -> list[str]:
        """Returns the ids of the products with an image, sorted."""
        with self._database.read() as connection:
            return product_table.products_of(connection, image)

    def delete_products(self, product_ids: Sequence[str]) -> int:
        """Removes products, with the images, captions and observations that no other product uses.

        Returns:
            The number of products that were removed.
        """
        with self._database.write() as connection:
            return sum(product_table.remove(connection, product_id) for product_id in product_ids)

    def search_products(
        self,
        text: str | None = None,
        *,
        picture: "LoadedImage | None" = None,
        k: int = 4,
        where: Where = None,
        text_weight: float = 0.5,
    ) -> list[ProductHit]:
        """Finds the ``k`` best products by text, by image, or by both.

        In a search by text, the score of a product is the best cosine of its own text and the captions of its images.
        In a search by image, it is the best cosine of its images. In a search by both, it is ``text_weight`` times the
        first plus ``1 - text_weight`` times the second; a product without an entry of one kind has the cosine 0 there.

        Args:
            text: The text to search for.
            picture: The image to search for.
            k: Maximum number of products.
            where: Only products that match this filter.
            text_weight: Weight of the text in a search by both, in [0, 1].

        Raises:
            InputError: If text and image are both missing, if the weight is out of range, or if the store was opened
                without a model that embeds images.
            FilterError: If the filter is invalid, or has a name that no product has.
        """
        text = text if text and text.strip() else None
        if text is None and picture is None:
            raise InputError("there is nothing to search for; pass a text, an image or both")
        if not 0 <= text_weight <= 1:
            raise InputError(f"text_weight is {text_weight}; it must be between 0 and 1")
        condition = compile_filter(where, products_only=True)
        queries: dict[Any, tuple[Vector, float]] = {}
        if text is not None:
            queries["text"] = self._text.embed_query(text), 1.0 if picture is None else text_weight
        if picture is not None:
            queries["picture"] = self._picture_vector(picture), 1.0 if text is None else 1 - text_weight
        if k < 1:
            return []
        with self._searching(*queries) as connection:
            if condition is not None:
                entry_table.require_attributes(connection, condition)
            space_queries = [
                SpaceQuery(
                    space=space,
                    index=self._indexes[space],
                    vector=vector,
                    weight=weight,
                    allowed=None
                    if condition is None
                    else entry_table.allowed_entries(connection, self._id_sets, space, condition),
                    hidden=self._hidden(connection),
                )
                for space, (vector, weight) in queries.items()
            ]
            matches = None if condition is None else self._product_test(connection, condition)
            return [_hit(connection, ranked) for ranked in rank_products(connection, space_queries, k, matches)]

    def nearest_pictures(
        self,
        picture: "LoadedImage | Sequence[float] | NDArray[np.floating[Any]]",
        *,
        k: int,
        where: Where = None,
        exclude_images: Collection[str] = (),
        exclude_products: Collection[str] = (),
    ) -> list[PictureHit]:
        """Finds the images of the catalogue that are nearest to an image. The result can include the image itself.

        Args:
            picture: The image, or its vector.
            k: Maximum number of images.
            where: Only images of products that match this filter.
            exclude_images: SHA-256 (hex) of images that are not returned.
            exclude_products: Ids of products that are not returned. An image that also belongs to another product is
                returned with that product.

        Raises:
            InputError: If the store was opened without a model that embeds images.
            FilterError: If the filter is invalid, or has a name that no product has.
            StoreError: If the vector has another length than those of the store.
        """
        condition = compile_filter(where, products_only=True)
        if isinstance(picture, Sequence | np.ndarray):
            self._picture_space.check_model()
            vector: Vector = unit_vectors([picture], 1)[0]
        else:
            vector = self._picture_vector(picture)
        with self._searching("picture") as connection:
            require_dimension(connection, "picture", vector)
            allowed = None
            if condition is not None:
                entry_table.require_attributes(connection, condition)
                allowed = entry_table.allowed_entries(connection, self._id_sets, "picture", condition)
            matches = self._product_test(connection, condition, exclude_products)
            excluded = _excluded_entries(connection, set(exclude_images), set(exclude_products), matches)
            hits = []
            for entry, score in self._indexes["picture"].search(vector, k, allowed=allowed, excluded=excluded):
                image = connection.execute("SELECT key FROM entries WHERE id = ?", (entry,)).fetchone()[0]
                products = tuple(
                    product_table.require(connection, product)
                    for product in product_table.products_of(connection, image)
                    if matches(product)
                )
                hits.append(PictureHit(image=image, score=score, products=products))
            return hits

    aput_products = async_twin(put_products)
    aget_product = async_twin(get_product)
    aget_products = async_twin(get_products)
    aproduct_ids = async_twin(product_ids)
    aproduct_digest = async_twin(product_digest)
    aimages_of = async_twin(images_of)
    aproducts_of = async_twin(products_of)
    adelete_products = async_twin(delete_products)
    asearch_products = async_twin(search_products)
    anearest_pictures = async_twin(nearest_pictures)

    def _product_test(
        self, connection: Connection, condition: Condition | None, excluded: Collection[str] = ()
    ) -> Callable[[str], bool]:
        """Returns a function that returns whether a product matches a filter and is not excluded."""
        excluded = frozenset(excluded)
        if condition is None:
            return lambda product: product not in excluded
        # Computed at the first call, because a search that finds no image needs no test.
        matching = cache(partial(entry_table.matching_entries, connection, self._id_sets, condition))
        return cache(
            lambda product: product not in excluded and entry_table.has_product(connection, matching(), product)
        )

    @property
    def _picture_space(self) -> PictureSpace:
        if self._picture is None:
            raise InputError(
                "the store was opened without a model that embeds images; open it with image_embeddings=..."
            )
        return self._picture

    def _picture_vector(self, image: "LoadedImage") -> Vector:
        space = self._picture_space
        space.check_model()
        with self._database.read() as connection:  # an image of the catalogue already has a vector
            row = connection.execute(
                "SELECT vector FROM entries WHERE kind = 'image' AND key = ?", (image.sha256,)
            ).fetchone()
        return from_blob(row[0]) if row is not None else space.embed_query(image)


def _hit(connection: Connection, ranked: RankedProduct) -> ProductHit:
    product = product_table.require(connection, ranked.product)
    matched = []
    for entry, score in (ranked.best[space] for space in SPACE_NAMES if space in ranked.best):
        kind, key, image = connection.execute("SELECT kind, key, image FROM entries WHERE id = ?", (entry,)).fetchone()
        text = product.text if kind == "product" else ""
        if kind == "caption" and (caption := caption_table.get(connection, key)) is not None:
            text = caption.text
        matched.append(Match(kind=kind, score=score, text=text, image=image))
    return ProductHit(product=product, score=ranked.score, matched=tuple(matched))


def _excluded_entries(
    connection: Connection, images: set[str], excluded_products: set[str], matches: Callable[[str], bool]
) -> Ids:
    """Returns the entries of excluded images, and of images that belong to excluded products only."""
    for excluded_product in excluded_products:
        for image in product_table.images_of(connection, excluded_product):
            if image is not None and not any(map(matches, product_table.products_of(connection, image))):
                images = images | {image}
    rows = (connection.execute("SELECT id FROM entries WHERE kind = 'image' AND key = ?", (image,)) for image in images)
    return np.array([entry for found in rows for (entry,) in found], dtype=np.int64)
