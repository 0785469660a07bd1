"""Finds the products that a question about the whole catalogue selects: the cheapest, those under 5, those from Peru.

A search by similarity finds products that are like the question. It cannot compare numbers, so the cheapest product may
be missing from its results.
"""

from typing import TYPE_CHECKING, Final

from caslie_tools.backends.embedded.questions.facts import ProductFacts, product_facts
from caslie_tools.backends.embedded.questions.selection import asks_for_products, kind_words, select
from caslie_tools.backends.embedded.questions.understanding import understand
from caslie_tools.domain import Citation, Product

if TYPE_CHECKING:
    from caslie_tools.store import CaptionStore
    from caslie_tools.store.filters import Where

MAX_PRODUCTS: Final = 5_000
"""Number of products that are compared at most. A larger catalogue is first reduced to the kind in the question."""


class ComparingFinder:
    """Finds products by their fields.

    Args:
        store: The catalogue.
    """

    def __init__(self, store: "CaptionStore") -> None:
        self.store = store

    def find(self, question: str, where: "Where", limit: int) -> list[str]:
        """Returns the ids of the products whose fields fit a question, the best first.

        The result is empty if the question selects no products by their fields.
        """
        asked = understand(question)
        if not asked.selects:
            return []
        kind = kind_words(asked)
        ids = self.store.product_ids(where)
        if len(ids) > MAX_PRODUCTS:
            ids = [] if not kind else self._of_kind(kind[-1], where)
        if len(ids) > MAX_PRODUCTS:
            return []
        candidates = [_facts(index, product) for index, product in enumerate(self.store.get_products(ids))]
        if not asks_for_products(asked, candidates):
            return []
        return [match.product.id for match in select(asked, candidates)[:limit]]

    def _of_kind(self, word: str, where: "Where") -> list[str]:
        named = {"$or": [{field: {"$like": f"%{word}%"}} for field in ("title", "category")]}
        matching = set(self.store.product_ids(where))
        return [id_ for id_ in self.store.product_ids(named) if id_ in matching]


def _facts(index: int, product: Product) -> ProductFacts:
    sources = [Citation(product=product.id, field=name, quote=value) for name, value in product.fields.items()]
    return product_facts(index, {"id": product.id, **product.fields}, sources)
