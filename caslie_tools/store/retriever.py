"""The retriever of the store: the retriever of LangChain with ``k`` as an additional argument."""

from typing import Any

from langchain_core.vectorstores import VectorStoreRetriever
from pydantic import model_validator


class StoreRetriever(VectorStoreRetriever):
    """Retrieves documents from a store.

    Args:
        vectorstore: The store.
        k: Maximum number of documents. It has the same effect as ``k`` in ``search_kwargs``.
        search_type: ``similarity``, ``mmr`` or ``similarity_score_threshold``.
        search_kwargs: Arguments of the search methods of the store, such as ``filter``.
    """

    @model_validator(mode="before")
    @classmethod
    def _move_k(cls, values: Any) -> Any:
        if isinstance(values, dict) and "k" in values:
            values = dict(values)
            values["search_kwargs"] = {**(values.get("search_kwargs") or {}), "k": values.pop("k")}
        return values
