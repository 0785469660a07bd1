"""An indexing run that is killed repeatedly, and two runs at the same time."""

import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.cli.commands import Command, finish, start
from tests.cli.stepped_profile import WAITING
from tests.shop import DATABASE, Shop, captioned_products, content_of, stocked
from tests.time_limits import HANG_SECONDS, PATIENT

PRODUCTS = 40
KILLS = 20
PROFILE = "tests.cli.stepped_profile:profile"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return stocked(tmp_path_factory.mktemp("shop"), PRODUCTS)


@pytest.fixture(scope="module")
def clean(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one run without interruption."""
    store = tmp_path_factory.mktemp("clean") / "store"
    result = finish(start_index(shop, store))
    assert result.document["captions_made"] == 56
    assert result.document["failed"] == []
    return store


def start_index(shop: Shop, store: Path, *, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    arguments = ("--profile", PROFILE, "--progress", "lines", "--json")
    return start("index", shop.path, "--store", store, *arguments, stdin=stdin, environment=PATIENT)


def lines_of(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stderr is not None
    return iter(process.stderr.readline, "")


def allow(process: "subprocess.Popen[str]", steps: int) -> None:
    assert process.stdin is not None
    process.stdin.write("." * steps)
    process.stdin.flush()


def stored_products(store: Path) -> set[str]:
    with closing(sqlite3.connect(store / DATABASE)) as database:
        return {product for (product,) in database.execute("SELECT id FROM products")}


def kill_somewhere(process: "subprocess.Popen[str]", chance: random.Random, most_steps: int) -> list[str]:
    """Allows a random number of model calls, and kills the run after a random line; returns the lines it printed.

    The run never finishes, because it waits for permission after the allowed calls.
    """
    steps = chance.randint(0, most_steps)
    allow(process, steps)
    # Lines about work of earlier runs are not counted. Otherwise, most runs would be killed too early.
    last = chance.randint(0, 2 * steps + 1)
    lines: list[str] = []
    waiting = counted = 0
    for line in lines_of(process):
        lines.append(line.strip())
        waiting += line.startswith(WAITING)
        counted += waiting > 0
        if counted > last or waiting > steps:
            break
    process.send_signal(SIGKILL)
    _, rest = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == -SIGKILL
    return lines + rest.splitlines()[:-1]  # the last line may be cut off


def test_a_run_killed_20_times_ends_with_the_store_of_one_clean_run(shop: Shop, clean: Path, tmp_path: Path) -> None:
    chance = random.Random(20)  # noqa: S311 (a fixed seed, for similar points in each run)
    store = tmp_path / "store"
    acknowledged: dict[str, set[str]] = {"reading": set(), "captioning": set()}
    phases: list[str] = []
    for _ in range(KILLS):
        # Images are stored in batches, and captions one by one.
        most_steps = 0 if not phases else 24 if len(acknowledged["reading"]) < PRODUCTS else 6
        lines = kill_somewhere(start_index(shop, store, stdin=subprocess.PIPE), chance, most_steps)
        phases.append(next((line.split()[0] for line in reversed(lines) if not line.startswith(WAITING)), "starting"))
        for line in lines:
            if not line.startswith(WAITING):
                step, _, product = line.split()
                acknowledged[step].add(product)
        if (store / DATABASE).exists():
            # Everything that was reported is stored after each kill. `captioned_products` checks the integrity.
            captioned = captioned_products(store)
            assert acknowledged["reading"] <= stored_products(store)
            assert acknowledged["captioning"] <= captioned
    assert set(phases) == {"starting", "reading", "captioning"}
    result = finish(start_index(shop, store))
    assert result.code == 0
    assert result.document["captions_made"] + result.document["captions_reused"] == 56
    assert result.document["captions_reused"] >= len(acknowledged["captioning"])
    assert content_of(store) == content_of(clean)


def test_two_runs_at_the_same_time_end_with_the_store_of_one(shop: Shop, clean: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    runs = [start_index(shop, store, stdin=subprocess.PIPE) for _ in range(2)]
    for run in runs:  # both have reached their first image before either continues
        assert next(lines_of(run)).startswith(WAITING)
    for run in runs:
        allow(run, 500)
    for result in [finish(run) for run in runs]:
        assert result.code == 0
        assert result.document["products"] == PRODUCTS
        assert result.document["failed"] == []
    assert content_of(store) == content_of(clean)


def test_questions_are_answered_during_a_run(caslie: Command, shop: Shop, clean: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run = start_index(shop, store, stdin=subprocess.PIPE)
    for line in lines_of(run):
        if line.startswith("captioning"):
            break
        if line.startswith(WAITING):
            allow(run, 1)
    result = caslie("ask", "Which label has it?", "--product", "p00", "--profile", PROFILE, "--json")
    assert result.code == 0
    assert result.document["citations"]
    assert caslie("search", "product 7", "--profile", PROFILE, "--json").document["products"]
    allow(run, 500)
    assert finish(run).document["products"] == PRODUCTS
    with closing(sqlite3.connect(store / DATABASE)) as database, database:
        # Captions made for the question are stored next to those of the catalogue.
        assert database.execute("SELECT count(*) FROM captions").fetchone()[0] > len(content_of(clean)["captions"])
