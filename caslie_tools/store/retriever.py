"""The store's retriever: LangChain's own, which also takes ``k`` directly."""

from typing import Any

from langchain_core.vectorstores import VectorStoreRetriever
from pydantic import model_validator


class StoreRetriever(VectorStoreRetriever):
    """Retrieves documents from a store.

    Args:
        vectorstore: The store.
        k: How many documents at most; the same as ``k`` among the ``search_kwargs``.
        search_type: ``similarity``, ``mmr`` or ``similarity_score_threshold``.
        search_kwargs: What the store's search methods take, such as ``filter``.
    """

    @model_validator(mode="before")
    @classmethod
    def _take_k(cls, values: Any) -> Any:
        if isinstance(values, dict) and "k" in values:
            values = dict(values)
            values["search_kwargs"] = {**(values.get("search_kwargs") or {}), "k": values.pop("k")}
        return values
