"""Products in the store: writing them, and finding them by words and pictures."""

from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from caslie_tools.domain import Product
from caslie_tools.exceptions import InputError
from caslie_tools.store import captions, entries, products
from caslie_tools.store.asynchronous import asynchronous
from caslie_tools.store.entry_store import EntryStore
from caslie_tools.store.filters import Condition, Where, compile_filter
from caslie_tools.store.ranking import Aspect, Ranked, rank_products
from caslie_tools.store.results import Match, PictureHit, ProductHit
from caslie_tools.store.selection import Ids
from caslie_tools.store.vectors import SPACE_NAMES, PictureSpace, Vector, from_blob, require_dimension, unit_vectors

if TYPE_CHECKING:
    from caslie_tools.images.loading import LoadedImage


class ProductStore(EntryStore):
    """Products with their images, found by words and pictures; a LangChain vector store too."""

    def put_products(self, items: "Sequence[tuple[Product, Sequence[LoadedImage | str | None]]]") -> None:
        """Stores products, all or none; one with the id of a stored one takes its place.

        Args:
            items: Each product with its images, one for each of its references: loaded, as the SHA-256 (hex) of an
                image that is stored already, or ``None`` for one that could not be read.

        Raises:
            InputError: A product has another number of images than of references.
            ModelError: An embedding model failed.
            StoreBusyError: Another writer kept the store locked.
        """
        for product, images in items:
            if len(images) != len(product.images):
                raise InputError(
                    f"product {product.id!a} refers to {len(product.images)} images, but {len(images)} were given: "
                    "pass one for each, None for those that could not be read"
                )
        if not items:
            return
        vectors = self._text.embed_documents([product.text or product.id for product, _ in items])
        loaded = [image for _, images in items for image in images if image is not None and not isinstance(image, str)]
        shown = {image.sha256: image for image in loaded}
        pictures: dict[str, Vector] = {}
        if self._picture is not None and shown:
            pictures = dict(zip(shown, self._picture.embed(list(shown.values())), strict=True))
        with self._database.write() as connection:
            self._text.bind(connection, vectors.shape[1])
            if self._picture is not None and pictures:
                self._picture.bind(connection, len(next(iter(pictures.values()))))
            for (product, images), vector in zip(items, vectors, strict=True):
                products.put(connection, product, images, vector, pictures)

    def get_product(self, product_id: str) -> Product:
        """Returns a product.

        Raises:
            UnknownProductError: There is none of that id.
        """
        with self._database.read() as connection:
            return products.require(connection, product_id)

    def get_products(self, product_ids: Sequence[str]) -> list[Product]:
        """Returns products in the order asked for.

        Raises:
            UnknownProductError: There is none of one of these ids.
        """
        with self._database.read() as connection:
            return [products.require(connection, product_id) for product_id in product_ids]

    def product_ids(self, where: Where = None) -> list[str]:
        """Returns the ids of all products, or of those a filter lets pass, sorted."""
        condition = compile_filter(where, products_only=True)
        with self._database.read() as connection:
            if condition is not None:
                return sorted(entries.matching_products(connection, self._selections, condition))
            return [product_id for (product_id,) in connection.execute("SELECT id FROM products ORDER BY id")]

    def product_digest(self, product_id: str) -> str | None:
        """Returns the digest of a stored product (:func:`~caslie_tools.store.digest_product`); ``None`` if unknown."""
        with self._database.read() as connection:
            row = connection.execute("SELECT digest FROM products WHERE id = ?", (product_id,)).fetchone()
        return None if row is None else row[0]

    def images_of(self, product_id: str) -> list[str | None]:
        """Returns the images of a product by position, ``None`` for one that could not be read.

        A product that is not in the store has none.
        """
        with self._database.read() as connection:
            return products.images_of(connection, product_id)

    def products_of(self, image: str) -> list[str]:
        """Returns the ids of the products that show an image, sorted."""
        with self._database.read() as connection:
            return products.products_of(connection, image)

    def delete_products(self, product_ids: Sequence[str]) -> int:
        """Removes products; of their images, captions and observations those that no other product needs.

        Returns:
            How many of them were there.
        """
        with self._database.write() as connection:
            return sum(products.delete(connection, product_id) for product_id in product_ids)

    def search_products(
        self,
        text: str | None = None,
        *,
        picture: "LoadedImage | None" = None,
        k: int = 4,
        where: Where = None,
        text_weight: float = 0.5,
    ) -> list[ProductHit]:
        """Finds the ``k`` best products by words, by picture or by both.

        By words, a product scores the best cosine of its own text and its images' captions; by picture, of its images;
        by both, ``text_weight`` times the first plus ``1 - text_weight`` times the second, where what a product does
        not have counts 0.

        Args:
            text: What to look for.
            picture: A picture to look like.
            k: How many products at most.
            where: Which products to look among.
            text_weight: The part of the words where both are given, in [0, 1].

        Raises:
            InputError: Neither text nor picture, a weight out of range, or no model for pictures.
            FilterError: The filter cannot be understood.
        """
        text = text if text and text.strip() else None
        if text is None and picture is None:
            raise InputError("there is nothing to search for: give a text, a picture or both")
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
            aspects = [
                Aspect(
                    space=space,
                    index=self._indexes[space],
                    vector=vector,
                    weight=weight,
                    allowed=None
                    if condition is None
                    else entries.allowed(connection, self._selections, space, condition),
                )
                for space, (vector, weight) in queries.items()
            ]
            # Asked only where a hit's image may belong to products that do not pass.
            passing = None if condition is None else self._passing(connection, condition)
            return [_hit(connection, ranked) for ranked in rank_products(connection, aspects, k, passing)]

    def nearest_pictures(
        self,
        picture: "LoadedImage | Sequence[float] | NDArray[np.floating[Any]]",
        *,
        k: int,
        where: Where = None,
        exclude_images: Collection[str] = (),
        exclude_products: Collection[str] = (),
    ) -> list[PictureHit]:
        """Finds the catalogue's pictures nearest to a picture, itself included unless it is excluded.

        Args:
            picture: The picture, or its vector.
            k: How many at most.
            where: Which products' pictures to look among.
            exclude_images: SHA-256 (hex) of images to leave out.
            exclude_products: Products to leave out: an image stays if another product shows it too.

        Raises:
            InputError: No model for pictures, or a vector of another length.
            FilterError: The filter cannot be understood.
        """
        condition = compile_filter(where, products_only=True)
        if isinstance(picture, Sequence | np.ndarray):
            self._picture_space.ready()
            vector: Vector = unit_vectors([picture], 1)[0]
        else:
            vector = self._picture_vector(picture)
        with self._searching("picture") as connection:
            require_dimension(connection, "picture", vector)
            allowed = None
            if condition is not None:
                allowed = entries.allowed(connection, self._selections, "picture", condition)
            passes = self._passing(connection, condition, exclude_products)
            excluded = _excluded(connection, set(exclude_images), set(exclude_products), passes)
            hits = []
            for entry, score in self._indexes["picture"].search(vector, k, allowed=allowed, excluded=excluded):
                image = connection.execute("SELECT key FROM entries WHERE id = ?", (entry,)).fetchone()[0]
                showing = tuple(
                    products.require(connection, product)
                    for product in products.products_of(connection, image)
                    if passes(product)
                )
                hits.append(PictureHit(image=image, score=score, products=showing))
            return hits

    aput_products = asynchronous(put_products)
    aget_product = asynchronous(get_product)
    aget_products = asynchronous(get_products)
    aproduct_ids = asynchronous(product_ids)
    aproduct_digest = asynchronous(product_digest)
    aimages_of = asynchronous(images_of)
    aproducts_of = asynchronous(products_of)
    adelete_products = asynchronous(delete_products)
    asearch_products = asynchronous(search_products)
    anearest_pictures = asynchronous(nearest_pictures)

    def _passing(
        self, connection: Connection, condition: Condition | None, excluded: Collection[str] = ()
    ) -> Callable[[str], bool]:
        """Makes a function that tells whether a product passes a filter and is not left out."""
        left_out = frozenset(excluded)
        if condition is None:
            return lambda product: product not in left_out
        # Asked for only where an image is met.
        found = cache(partial(entries.matching, connection, self._selections, condition))
        return cache(lambda product: product not in left_out and entries.passes(connection, found(), product))

    @property
    def has_pictures(self) -> bool:
        """Whether it was opened with a model for pictures."""
        return self._picture is not None

    @property
    def _picture_space(self) -> PictureSpace:
        if self._picture is None:
            raise InputError("the store was opened without a model for pictures: open it with pictures=...")
        return self._picture

    def _picture_vector(self, image: "LoadedImage") -> Vector:
        space = self._picture_space
        space.ready()
        with self._database.read() as connection:  # one of the catalogue has been embedded already
            row = connection.execute(
                "SELECT vector FROM entries WHERE kind = 'image' AND key = ?", (image.sha256,)
            ).fetchone()
        return from_blob(row[0]) if row is not None else space.embed_query(image)


def _hit(connection: Connection, ranked: Ranked) -> ProductHit:
    product = products.require(connection, ranked.product)
    matched = []
    for entry, score in (ranked.best[space] for space in SPACE_NAMES if space in ranked.best):
        kind, key, image = connection.execute("SELECT kind, key, image FROM entries WHERE id = ?", (entry,)).fetchone()
        text = product.text if kind == "product" else ""
        if kind == "caption" and (caption := captions.get(connection, key)) is not None:
            text = caption.text
        matched.append(Match(kind=kind, score=score, text=text, image=image))
    return ProductHit(product=product, score=ranked.score, matched=tuple(matched))


def _excluded(
    connection: Connection, images: set[str], excluded_products: set[str], passes: Callable[[str], bool]
) -> Ids:
    """The pictures to leave out: those named, and those that of all products only excluded ones would be shown with."""
    for product in excluded_products:
        for image in products.images_of(connection, product):
            if image is not None and not any(passes(showing) for showing in products.products_of(connection, image)):
                images = images | {image}
    rows = (connection.execute("SELECT id FROM entries WHERE kind = 'image' AND key = ?", (image,)) for image in images)
    return np.array([entry for found in rows for (entry,) in found], dtype=np.int64)
