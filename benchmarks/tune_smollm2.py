"""Tunes a small model on a shop's instruction data, and scores it on the test split before and after.

``python benchmarks/tune_smollm2.py DATA [--seeds 3] [--serve]``

DATA is a dataset of ``caslie data build``. The default base is the SmolLM2-135M-Instruct that
``python -m tests.vllm.environment`` builds. The base and the tuned model of each seed answer the same drawn instances
of the test split, by constrained choice. Open questions have no metric and are not scored. The intervals of the scores
are bootstraps over the instances, and the intervals of the gains are bootstraps over pairs. ``--serve`` also runs the
adapter of the first seed on a vLLM server without a GPU, with the same instances.

This is not the paper's recipe, which needs a GPU. It has fewer instances, smaller batches, a higher learning rate,
sequences packed up to 640 tokens and one epoch. The card of each adapter records its settings.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from machine import heading
from pydantic import SecretStr

from caslie_tools._concurrency import run_together
from caslie_tools.backends.endpoints.settings import EndpointPredictorSettings
from caslie_tools.backends.transformers.loading import load_language_model
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.data.reading import read_records
from caslie_tools.data.records import Record
from caslie_tools.evaluation.bootstrap import resampled_headlines
from caslie_tools.evaluation.significance import Interval
from caslie_tools.profiles.building import build_predictor
from caslie_tools.tasks import get_task
from caslie_tools.tuning.examples import TrainingExample, fused_record, make_examples, sample_examples
from caslie_tools.tuning.model import load_tuned_model, tune_model
from caslie_tools.tuning.model_card import write_model_card
from caslie_tools.tuning.report import TuningReport
from caslie_tools.tuning.scoring import TaskScore, answers_by_task, choose_answers, score_by_task
from caslie_tools.tuning.settings import CaptionSelection, TuningSettings

ROOT = Path(__file__).parents[1]
BASE = ROOT / ".vllm" / "models" / "text"
TEST_SEED = 0
"""Seed that draws the test instances. The base and all seeds answer the same instances."""

Answers = list[str | None]


def answers_of(base: str, examples: Sequence[TrainingExample], adapter: Path | None = None) -> Answers:
    """Returns the answers of a base model, with the weights of an adapter if one is given."""
    settings = TransformersSettings(model=base, device="cpu")
    loaded = load_language_model(settings) if adapter is None else load_tuned_model(base, adapter)
    return choose_answers(loaded.torch, loaded.model, loaded.tokenizer, examples, batch_size=4)


def served_answers(
    adapter: Path, settings: TuningSettings, records: Sequence[Record], log: Path
) -> tuple[Answers, float]:
    """Returns the adapter's answers through a vLLM server, and their time in seconds without the server start."""
    from tests.vllm.servers import API_KEY, VllmServer

    fused = [fused_record(record, captions=settings.captions, wire=settings.wire) for record in records]
    rank = str(max(16, settings.rank))
    lora = ("--enable-lora", "--max-lora-rank", rank, "--lora-modules", f"tuned={adapter.resolve()}")
    log.unlink(missing_ok=True)
    with VllmServer(Path(settings.base), ["base"], log, [*lora, "--max-model-len", "2048"]) as server:
        predictor = build_predictor(
            EndpointPredictorSettings(
                model="tuned",
                urls=(f"{server.url}/v1",),
                api_key=SecretStr(API_KEY),
                layout=settings.layout,
                context_length=2048,
                timeout_seconds=600,
                max_concurrency=8,
            )
        )
        started = time.monotonic()
        answered = asyncio.run(run_together(predictor.ainvoke(instance) for instance in fused))
        seconds = time.monotonic() - started
    return [
        get_task(instance.task).parse(answer.text, instance) for instance, answer in zip(fused, answered, strict=True)
    ], seconds


def gains(examples: Sequence[TrainingExample], before: Answers, after: Answers) -> dict[str, tuple[float, Interval]]:
    """Returns the gain of the headline metric per task, with its bootstrap interval over pairs."""
    gained = {}
    first, second = answers_by_task(examples, after), answers_by_task(examples, before)
    for name, tuned in first.items():
        resampled = resampled_headlines([tuned, second[name]], seed=TEST_SEED)
        interval = Interval.of(resampled[0] - resampled[1], clusters=tuned.cluster_count, lowest=-1)
        gained[name] = tuned.headline - second[name].headline, interval
    return gained


def show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table in Markdown."""
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def with_interval(value: float, interval: Interval, *, sign: str = "") -> str:
    """Formats a figure with its 95% interval."""
    return f"{value:{sign}.3f} ({interval.low:{sign}.3f} to {interval.high:{sign}.3f})"


def show_scores(scores: Mapping[str, Mapping[str, TaskScore]]) -> None:
    """Prints a table with a row per task, a row with their mean, and a column per model."""
    first = next(iter(scores.values()))
    rows = [
        [
            task,
            one.metric,
            str(one.count),
            *(with_interval(got[task].value, got[task].interval) for got in scores.values()),
        ]
        for task, one in first.items()
    ]
    means = [f"{sum(one.value for one in got.values()) / len(got):.3f}" for got in scores.values()]
    show(["task", "metric", "n", *scores], [*rows, ["mean of the tasks", "", "", *means]])


def main() -> None:
    """Parses the command line, tunes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="instruction data with the splits train and test")
    parser.add_argument("--base", default=str(BASE), help="folder or hub name of the causal language model")
    parser.add_argument(
        "--out", type=Path, default=Path(".caslie/tuned"), help="folder for the adapters, with one folder per seed"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--instances", type=int, default=200, help="number of instances to tune on, drawn by each seed")
    parser.add_argument("--test-instances", type=int, default=300, help="number of test instances, drawn once")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--captions", choices=("kept", "all", "none"), default="kept")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="threads of torch; more threads than idle cores are slower than one thread",
    )
    parser.add_argument("--serve", action="store_true", help="also run the adapter of the first seed on a vLLM server")
    options = parser.parse_args()

    import torch

    torch.set_num_threads(options.threads)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "trl"))
    print(f"{heading()} · {packages} · {options.threads} threads\n", flush=True)

    def settings_of(seed: int) -> TuningSettings:
        captions: CaptionSelection = options.captions
        return TuningSettings(
            base=options.base,
            data=options.data,
            out=options.out / f"seed-{seed}",
            captions=captions,
            validation=(),
            instances=options.instances,
            max_length=640,
            learning_rate=options.learning_rate,
            epochs=options.epochs,
            batch_size=2,
            device_batch_size=1,
            packing=True,
            gradient_checkpointing=False,
            device="cpu",
            seed=seed,
            save_steps=10,
        )

    tested, records = read_test(settings_of(0), options.test_instances)
    answers: dict[str, Answers] = {}
    reports: list[TuningReport] = []
    started = time.monotonic()
    answers["base"] = answers_of(options.base, tested)
    print(f"base: {len(tested)} instances answered in {time.monotonic() - started:.0f} s", flush=True)
    for seed in range(options.seeds):
        report = tune_model(settings_of(seed), resume=True)
        started = time.monotonic()
        answers[f"seed {seed}"] = answers_of(options.base, tested, report.adapter)
        print(
            f"seed {seed}: {sum(report.train.values())} instances, {report.steps} steps in {report.seconds:.0f} s, "
            f"loss {report.first_loss:.2f} to {report.last_loss:.2f}; answered in {time.monotonic() - started:.0f} s",
            flush=True,
        )
        reports.append(report)
    print()
    scores = {name: score_by_task(tested, given, seed=TEST_SEED) for name, given in answers.items()}
    show_scores(scores)
    for seed, report in enumerate(reports):
        tuned = scores[f"seed {seed}"]
        write_model_card(report, {task: (before, tuned[task]) for task, before in scores["base"].items()})
    gained = {name: gains(tested, answers["base"], given) for name, given in answers.items() if name != "base"}
    print("Gain over the base, with intervals over pairs:\n")
    show(
        ["task", *gained],
        [[task, *(with_interval(*one[task], sign="+") for one in gained.values())] for task in scores["base"]],
    )
    if options.serve:
        log = options.out / "vllm.log"
        served, seconds = served_answers(reports[0].adapter, reports[0].settings, records, log)
        same = sum(one == other for one, other in zip(served, answers["seed 0"], strict=True))
        print(
            f"Through vLLM with the adapter (--lora-modules): {same} of {len(served)} answers are equal, "
            f"in {seconds:.0f} s\n"
        )
        show_scores(
            {"in this process": scores["seed 0"], "through the endpoint": score_by_task(tested, served, seed=TEST_SEED)}
        )


def read_test(settings: TuningSettings, count: int) -> tuple[list[TrainingExample], list[Record]]:
    """Draws test instances with a fixed set of answers, and returns them as examples and as records."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(settings.base)
    records = {
        record.index: record
        for record in read_records(settings.data, splits=("test",), trust_paths=True)
        if isinstance(record, Record)
    }
    made = make_examples(
        records.values(), tokenizer, layout=settings.layout, wire=settings.wire, captions=settings.captions
    )
    if made.left_out:
        print(f"{len(made.left_out)} test instances left out, the first: {made.left_out[0].reason}", flush=True)
    closed = [example for example in made.train if example.choices]
    if not closed:
        sys.exit(f"{settings.data}: the test split has no instance with a fixed set of answers")
    drawn = sample_examples(closed, count, TEST_SEED)
    return drawn, [records[example.index] for example in drawn]


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.path.insert(0, str(ROOT))  # for tests.vllm
    main()
