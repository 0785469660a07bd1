"""Products of a catalogue."""

from pydantic import Field, FiniteFloat

from caslie_tools.domain.base import FrozenModel
from caslie_tools.domain.images import ImageRef

AttributeValue = str | bool | int | FiniteFloat
"""The value of a product's own attribute. Filters compare numbers as numbers and texts as texts."""


class Product(FrozenModel):
    """One product of a catalogue."""

    id: str = Field(min_length=1, max_length=512)
    title: str = ""
    description: str = ""
    category: str = ""
    """A path such as ``Fruit > Apple``."""
    price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """In the currency of the catalogue."""
    brand: str = ""
    attributes: dict[str, AttributeValue] = Field(default_factory=dict)
    images: tuple[ImageRef, ...] = ()

    def stored_image(self, position: int) -> ImageRef:
        """Returns a reference to an image of this product in a store, without the location of the image."""
        return ImageRef(stored=f"product/{position}/{self.id}", name=self.images[position].label)

    @property
    def fields(self) -> dict[str, str]:
        """The texts of the product by field name. Empty fields are left out."""
        named = {"title": self.title, "brand": self.brand, "category": self.category, "description": self.description}
        if self.price is not None:
            named["price"] = f"{self.price:g}"
        named |= {name: str(value) for name, value in self.attributes.items() if name not in named}
        return {name: value for name, value in named.items() if value}

    @property
    def text(self) -> str:
        """All texts of the product as one string, for search."""
        return "\n".join(f"{name}: {value}" for name, value in self.fields.items())
