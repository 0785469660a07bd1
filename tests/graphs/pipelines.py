"""Pipelines of light models, and options of graphs over them."""

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

from caslie_tools.domain import Product
from caslie_tools.graphs.graph import RETRY
from caslie_tools.images.loading import ImageLoader
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.roles.interfaces import Captioner, Judge, Models, Predictor
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from tests.doubles import light_models

AT_ONCE = RETRY._replace(initial_interval=0.0, jitter=False)
"""The graph's own retries without their waits."""

THREAD: RunnableConfig = {"configurable": {"thread_id": "shopper"}}


def put(store: CaptionStore, products: Sequence[Product]) -> None:
    loader = ImageLoader()
    store.put_products([(product, [loader.load_sync(ref) for ref in product.images]) for product in products])


def pipeline_with(
    store: CaptionStore,
    *,
    captioners: Sequence[Captioner] | None = None,
    judges: Sequence[Judge] | None = None,
    predictor: Predictor | None = None,
    text_tokens: int | None = None,
    **settings: Any,
) -> Pipeline:
    """A pipeline with the light models, but for those given."""
    light = light_models()
    models = Models(
        captioners=captioners or light.captioners,
        judges=judges or light.judges,
        predictor=predictor or light.predictor,
        text_tokens=text_tokens,
    )
    return Pipeline(store, models, Settings(**settings))
