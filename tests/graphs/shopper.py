"""One request in a process of its own: ``python -m tests.graphs.shopper FOLDER STEP``.

Steps: ``die`` asks and is killed in the predictor, ``die-judging`` is killed when every picture has come to the jury,
``go-on`` goes on with that; ``ask`` stops for a person, ``decide`` brings the person's answer. Prints the outcome as
JSON. Whatever LangGraph logs goes to standard error.
"""

import asyncio
import json
import logging
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command

from caslie_tools.domain import Vote
from caslie_tools.graphs import Context, build_graph
from caslie_tools.images.loading import ImageLoader
from caslie_tools.roles.interfaces import CaptionRequest, JudgeRequest
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import FusedInstance
from tests.doubles import FunctionCaptioner, FunctionJudge, FunctionPredictor, HashEmbeddings, light_products
from tests.graphs.pipelines import THREAD, pipeline_with


def main(folder: Path, step: str) -> None:
    """Runs one step of a request."""
    captions = folder / "captions"

    def caption(request: CaptionRequest) -> str:
        with captions.open("a", encoding="utf-8") as file:
            file.write(f"{request.image.sha256}\n")
        return f"Picture {request.image.sha256[:6]}."

    async def vote(request: JudgeRequest) -> Vote:
        if step == "die-judging":
            if judge.calls == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.Event().wait()
        return Vote(judge="judge", verdict="yes")

    def answer(instance: FusedInstance) -> str:
        if step == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return f"{len(instance.captions)} pictures"

    judge = FunctionJudge(vote)
    products = light_products(folder)[:2]
    loader = ImageLoader()
    connection = sqlite3.connect(folder / "checkpoints.sqlite", check_same_thread=False)
    with CaptionStore.in_memory(HashEmbeddings()) as store:
        store.put_products([(product, [loader.load_sync(ref) for ref in product.images]) for product in products])
        pipeline = pipeline_with(
            store,
            captioners=[FunctionCaptioner(caption)],
            judges=[judge],
            predictor=FunctionPredictor(answer),
        )
        graph = build_graph(pipeline, checkpointer=SqliteSaver(connection))
        requests: dict[str, Any] = {"go-on": None, "decide": Command(resume={"0": True, 1: False, "2": True})}
        question = {"question": "What is it?", "products": ["mug", "jacket"], "images": [products[0].images[0]]}
        state = graph.invoke(
            requests.get(step, question),
            THREAD,
            context=Context(ask_person=step == "ask"),
            durability="sync",
        )
        saved = graph.get_state(THREAD)
    connection.close()
    print(  # noqa: T201 (what the test reads)
        json.dumps(
            {
                "answer": state["prediction"].text if "prediction" in state else None,
                "asked": [item["index"] for found in saved.interrupts for item in found.value["captions"]],
                "kept": [result.index for result in state["image_results"] if result.kept],
                "steps": [timing.step for timing in state["timings"]],
                "equal": all(saved.values[name] == value for name, value in state.items() if name in saved.values),
                "types": {name: type(value).__name__ for name, value in saved.values.items()},
            }
        )
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(Path(sys.argv[1]), sys.argv[2])
