"""The caption store: SQLite for the truth, FAISS for the nearest."""

from caslie_tools.store.caption_store import CaptionStore
from caslie_tools.store.filters import Where
from caslie_tools.store.products import digest_product
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
