"""The bodies of requests. Images are URLs, never paths: a client must not read files of the server."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue, model_validator

from caslie_tools.domain import FrozenModel, ImageRef, Product

_MAX_IMAGES = 16
_MAX_PRODUCTS = 10_000
_MAX_ATTRIBUTES = 1000
_MAX_TEXT = 100_000


def _web_image(url: str) -> str:
    if not url.lower().startswith(("http://", "https://", "data:")):
        raise ValueError("an image is an http(s) or data URL")
    return url


WebImage = Annotated[str, AfterValidator(_web_image)]
"""An http(s) URL, or a data URL with the encoded image."""
Where = Annotated[
    str | dict[str, JsonValue] | None,
    Field(description="Filter on the products, as text (`price < 50`) or as an object."),
]
ProductId = Annotated[str, Field(min_length=1, max_length=512)]
UseImages = Annotated[bool, Field(description="`false` answers from text only.")]


class Question(FrozenModel):
    """An open question about products."""

    question: str = Field(min_length=1, max_length=4000)
    products: list[ProductId] = Field(
        default=[], max_length=50, description="Ids of products. Default: search the store."
    )
    images: list[WebImage] = Field(default=[], max_length=_MAX_IMAGES, description="The shopper's own images.")
    where: Where = None
    use_images: UseImages = True


class Search(FrozenModel):
    """A search by words, by an image or by both."""

    text: str = Field(default="", max_length=4000)
    image: WebImage | None = None
    where: Where = None
    count: int = Field(default=4, ge=1, le=100)


class TaskInstance(FrozenModel):
    """An instance of one of the tasks."""

    task: str = Field(max_length=200, description="Name or abbreviation of a task: `category_classification`, or `cc`.")
    record: dict[str, JsonValue] | list[JsonValue] = Field(
        description="The instance in the form of the dataset, without its images, or only its input."
    )
    images: list[WebImage | None] = Field(default=[], max_length=100, description="In order; `null` for a missing one.")
    use_images: UseImages = True

    @model_validator(mode="after")
    def _no_images_in_the_record(self) -> "TaskInstance":
        if isinstance(self.record, dict) and self.record.get("images"):
            raise ValueError("pass the images in the field 'images' of the request, not in its record")
        return self


class CatalogueProduct(Product):
    """A product of a catalogue."""

    images: Annotated[Any, Field(json_schema_extra={"type": "array", "items": {"type": "string"}})] = ()

    @model_validator(mode="before")
    @classmethod
    def _web_images(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        images = value.get("images", [])
        if not isinstance(images, list) or len(images) > 100 or not all(isinstance(image, str) for image in images):
            raise ValueError("images is a list of at most 100 URLs")
        return value | {"images": tuple(ImageRef(url=_web_image(image)) for image in images)}

    @model_validator(mode="after")
    def _small(self) -> "CatalogueProduct":
        if len(self.attributes) > _MAX_ATTRIBUTES or len(self.text) > _MAX_TEXT:
            raise ValueError(f"a product has at most {_MAX_ATTRIBUTES} attributes, and {_MAX_TEXT:,} characters in all")
        return self


class Catalogue(FrozenModel):
    """A catalogue to index: a file in the folder of catalogues, or the products themselves."""

    file: str | None = Field(default=None, description="Name of a file in the folder given with `--catalogues`.")
    products: list[CatalogueProduct] | None = Field(default=None, min_length=1, max_length=_MAX_PRODUCTS)
    prune: bool = Field(default=False, description="Remove products that the catalogue does not have.")

    @model_validator(mode="after")
    def _one_source(self) -> "Catalogue":
        if (self.file is None) == (self.products is None):
            raise ValueError("give either a file or products")
        ids = [product.id for product in self.products or ()]
        if len(set(ids)) != len(ids):
            raise ValueError("the ids of the products are not unique")
        return self
