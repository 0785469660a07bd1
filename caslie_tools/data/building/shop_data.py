"""A shop's catalogue and logs in memory: the input of all task builders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from caslie_tools.data.building.drafts import ProductPicture
from caslie_tools.data.building.logs import Event, Question, Review, Search
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.seeded_random import seeded_random
from caslie_tools.domain import ImageRef, Product


@dataclass(frozen=True, kw_only=True)
class ShopData:
    """A catalogue and its logs."""

    products: Mapping[str, Product]
    """By id, in the order of ids."""
    pictures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """SHA-256 (hex) of each product's pictures, by product id. Excludes missing pictures and placeholders."""
    review_pictures: Mapping[ImageRef, str] = field(default_factory=dict)
    """SHA-256 (hex) of the pictures that reviewers attached."""
    searches: Sequence[Search] = ()
    reviews: Sequence[Review] = ()
    questions: Sequence[Question] = ()
    events: Sequence[Event] = ()

    @cached_property
    def categories(self) -> Mapping[str, str]:
        """Display names of the categories, by path.

        The name is the last part of the path. If two categories share their last part, it is the full path.
        """
        paths = sorted({category_path(product) for product in self.products.values()} - {""})
        last = [path.rsplit(" > ", 1)[-1] for path in paths]
        return {path: name if last.count(name) == 1 else path for path, name in zip(paths, last, strict=True)}

    def pictures_of(self, product: str, options: BuildOptions, *identity: object) -> tuple[ProductPicture, ...]:
        """Returns a product's pictures for an instance that takes any number of pictures.

        Args:
            product: The product's id.
            options: Which pictures are used: the first, a random one, or all.
            identity: Identifies the instance, and so seeds the random choice.
        """
        if options.pictures == "all":
            return tuple((picture, product) for picture in self.pictures.get(product, ()))
        picture = self.picture_of(product, options, *identity)
        return (picture,) if picture[0] else ()

    def picture_of(self, product: str, options: BuildOptions, *identity: object) -> ProductPicture:
        """Returns one picture of a product, for an instance with several products. See :meth:`pictures_of`."""
        own = self.pictures.get(product, ())
        if not own:
            return None, product
        if options.pictures != "any":
            return own[0], product
        return seeded_random(options.seed, "picture", product, *identity).choice(sorted(own)), product

    def is_described(self, product: str) -> bool:
        """Whether a product has a title or a picture."""
        return bool(self.products[product].title or self.pictures.get(product))


def category_path(product: Product) -> str:
    """Returns a product's category with uniform separators: ``Kitchen > Mugs``."""
    return " > ".join(part.strip() for part in product.category.split(">") if part.strip())
