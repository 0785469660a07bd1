"""The caption store: SQLite holds the data, and FAISS indexes derived from it find the nearest vectors."""

from caslie_tools.store.caption_store import CaptionStore
from caslie_tools.store.filters import Where
from caslie_tools.store.product_table import digest_product
from caslie_tools.store.results import Match, PictureHit, ProductHit, StoreStats
from caslie_tools.store.retriever import StoreRetriever

__all__ = [
    "CaptionStore",
    "Match",
    "PictureHit",
    "ProductHit",
    "StoreRetriever",
    "StoreStats",
    "Where",
    "digest_product",
]
