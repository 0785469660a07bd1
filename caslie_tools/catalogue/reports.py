"""What a run of indexing reports, and what a preview of it reports."""

from caslie_tools.catalogue.format import CatalogueFormat
from caslie_tools.domain import FrozenModel


class FailedItem(FrozenModel):
    """A row, a value or an image that could not be indexed."""

    item: str
    """The id of a product, the line of a row, or ``product: image``."""
    reason: str


class IndexReport(FrozenModel):
    """The result of a run. The numbers count this catalogue, not the whole store."""

    products: int
    """Products of the catalogue that the store contains now."""
    images: int
    """Their images that could be read in this run or in a previous run."""
    captions_made: int
    captions_reused: int
    """Images with a stored caption."""
    skipped: int
    """Products that were already stored and have not changed."""
    failed: tuple[FailedItem, ...]
    """Rows and values that could not be read first, then images in the order of the catalogue. The next run tries them
    again."""
    removed: tuple[str, ...] = ()
    """Ids of the products that the catalogue no longer has, if they were to be removed."""
    not_removed: str = ""
    """Why nothing was removed although that was asked for. Empty if there is no reason."""
    captions_removed: int = 0
    """Captions of the store that were out of date, or that were not used for a long time."""
    format: CatalogueFormat | None = None
    """How the file was read: its encoding, its columns and its numbers. ``None`` for a list of products."""
    seconds: float


class IndexPreview(FrozenModel):
    """What indexing a catalogue would change in a store. The lists hold ids of products."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """Products with other texts or other images than the store has, or with an image that could not be read before."""
    unchanged: int = 0
    """Number of products."""
    removed: tuple[str, ...] = ()
    """Products of the store that the catalogue does not have, if they are to be removed."""
    not_removed: str = ""
    """Why nothing would be removed although that was asked for. Empty if there is no reason."""
    failed: tuple[FailedItem, ...] = ()
    """Rows and values that cannot be read. Images are not read."""
    format: CatalogueFormat | None = None
    """How the file was read: its encoding, its columns and its numbers. ``None`` for a list of products."""
