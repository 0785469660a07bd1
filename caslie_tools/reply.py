"""What the state machine answers, as one value."""

import time
import uuid
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph

from caslie_tools.domain import Model, Prediction, Product
from caslie_tools.graphs import Context, Input, State, Timing
from caslie_tools.sight import Look
from caslie_tools.tasks import Instance
from caslie_tools.tasks.product_qa import SHOPPERS_PICTURE

CaslieGraph = CompiledStateGraph[State, Context, Input, Any]


class Reply(Model):
    """An answer with everything that led to it."""

    prediction: Prediction
    instance: Instance
    looks: tuple[Look, ...] = ()
    """What became of every image, in the instance's order."""
    warnings: tuple[str, ...] = ()
    timings: tuple[Timing, ...] = ()
    total_milliseconds: float = 0.0

    @property
    def answer(self) -> str:
        """The answer in words, or the label."""
        return self.prediction.text if self.prediction.label is None else self.prediction.label

    @property
    def products(self) -> tuple[Product, ...]:
        """The products that were looked at, by id and text, for an open question."""
        records = self.instance.input.get("products") if isinstance(self.instance.input, dict) else None
        return tuple(
            Product(id=str(record["id"]), title=str(record.get("title", "")))
            for record in (records if isinstance(records, list) else [])
            if isinstance(record, dict) and record["id"] != SHOPPERS_PICTURE
        )

    def to_json(self) -> dict[str, Any]:
        """Returns what programs need of it, as plain JSON values; times in milliseconds, summed over images."""
        timings: dict[str, float] = {}
        for timing in self.timings:
            timings[timing.step] = round(timings.get(timing.step, 0.0) + timing.milliseconds, 3)
        prediction = self.prediction
        return {
            "answer": self.answer,
            "answerable": prediction.answerable,
            "task": prediction.task,
            "label": prediction.label,
            "probabilities": prediction.probabilities,
            "products": [{"id": product.id, "title": product.title} for product in self.products],
            "captions": [_caption(look) for look in self.looks],
            "citations": [citation.model_dump(mode="json") for citation in prediction.citations],
            "fused": prediction.fused,
            "timings_ms": timings | {"total": round(self.total_milliseconds, 3)},
            "warnings": list(self.warnings),
        }


async def run_graph(
    graph: CaslieGraph, request: Input, *, context: Context | None = None, config: RunnableConfig | None = None
) -> Reply:
    """Runs the state machine on one request; where it keeps checkpoints and none are asked for, on a thread of its own.

    Raises:
        CaslieError: As the steps of :class:`~caslie_tools.sight.Sight` do.
    """
    started = time.perf_counter()
    if config is None and graph.checkpointer:
        config = {"configurable": {"thread_id": uuid.uuid4().hex}}
    state = await graph.ainvoke(request, config, context=context or Context())
    return Reply(
        prediction=state["prediction"],
        instance=state["instance"],
        looks=tuple(state.get("looks", ())),
        warnings=tuple(state.get("warnings", ())),
        timings=tuple(state.get("timings", ())),
        total_milliseconds=(time.perf_counter() - started) * 1000,
    )


def _caption(look: Look) -> dict[str, Any]:
    caption, decision = look.caption, look.decision
    return {
        "product": look.image.product,
        "image": str(look.image.ref),
        "text": caption.text if caption else None,
        "source": caption.source if caption else None,
        "captioner": caption.captioner if caption else None,
        "kept": look.kept,
        "margin": decision.margin if decision else None,
        "votes": [vote.model_dump(mode="json") for vote in decision.votes] if decision else [],
        "unasked": decision.unasked if decision else 0,
        "error": look.error or None,
    }
