"""An index run that is killed, again and again, and one that is not alone."""

import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.cli.conftest import Command, finish, start
from tests.cli.stepped import ASKED
from tests.shop import DATABASE, Shop, captioned_products, content_of, stocked

PRODUCTS = 40
KILLS = 20
PROFILE = "tests.cli.stepped:profile"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return stocked(tmp_path_factory.mktemp("shop"), PRODUCTS)


@pytest.fixture(scope="module")
def clean(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one run that nothing disturbs."""
    store = tmp_path_factory.mktemp("clean") / "store"
    ended = finish(start_index(shop, store))
    assert ended.document["captions_made"] == 56
    assert ended.document["failed"] == []
    return store


def start_index(shop: Shop, store: Path, **options: int) -> "subprocess.Popen[str]":
    return start("index", shop.path, "--store", store, "--profile", PROFILE, "--progress", "lines", "--json", **options)


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
    """Lets the run's models take a few steps and kills it after any of the lines it writes; returns those lines.

    It never comes to its end: after the steps it may take, it waits for one more.
    """
    steps = chance.randint(0, most_steps)
    allow(process, steps)
    # Lines that only tell of what earlier runs have stored do not count, or all kills would be early ones.
    last = chance.randint(0, 2 * steps + 1)
    seen: list[str] = []
    asked = counted = 0
    for line in lines_of(process):
        seen.append(line.strip())
        asked += line.startswith(ASKED)
        counted += asked > 0
        if counted > last or asked > steps:
            break
    process.send_signal(SIGKILL)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == -SIGKILL
    return seen + rest.splitlines()[:-1]  # the last line may be cut off


def test_killed_at_20_points_and_resumed_it_ends_as_one_clean_run(shop: Shop, clean: Path, tmp_path: Path) -> None:
    chance = random.Random(20)  # noqa: S311 (no secret: the same points every time, as far as processes are the same)
    store = tmp_path / "store"
    acknowledged: dict[str, set[str]] = {"reading": set(), "captioning": set()}
    phases = []
    for _ in range(KILLS):
        # A batch of pictures is stored together, captions one by one.
        most_steps = 0 if not phases else 24 if len(acknowledged["reading"]) < PRODUCTS else 6
        lines = kill_somewhere(start_index(shop, store, stdin=subprocess.PIPE), chance, most_steps)
        phases.append(next((line.split()[0] for line in reversed(lines) if not line.startswith(ASKED)), "starting"))
        for line in lines:
            if not line.startswith(ASKED):
                step, _, product = line.split()
                acknowledged[step].add(product)
        if (store / DATABASE).exists():
            # What was told is stored, after every single kill; `captioned_products` checks the file's integrity.
            captioned = captioned_products(store)
            assert acknowledged["reading"] <= stored_products(store)
            assert acknowledged["captioning"] <= captioned
    assert set(phases) == {"starting", "reading", "captioning"}
    ended = finish(start_index(shop, store))
    assert ended.code == 0
    assert ended.document["captions_made"] + ended.document["captions_reused"] == 56
    assert ended.document["captions_reused"] >= len(acknowledged["captioning"])
    assert content_of(store) == content_of(clean)


def test_two_runs_at_once_end_as_one(shop: Shop, clean: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    runs = [start_index(shop, store, stdin=subprocess.PIPE) for _ in range(2)]
    for run in runs:  # both are at their first picture before either goes on
        assert next(lines_of(run)).startswith(ASKED)
    for run in runs:
        allow(run, 500)
    for ended in [finish(run) for run in runs]:
        assert ended.code == 0
        assert ended.document["products"] == PRODUCTS
        assert ended.document["failed"] == []
    assert content_of(store) == content_of(clean)


def test_questions_are_answered_while_a_run_is_under_way(
    caslie: Command, shop: Shop, clean: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    run = start_index(shop, store, stdin=subprocess.PIPE)
    for line in lines_of(run):
        if line.startswith("captioning"):
            break
        if line.startswith(ASKED):
            allow(run, 1)
    ended = caslie("ask", "Which label has it?", "--product", "p00", "--profile", PROFILE, "--json")
    assert ended.code == 0
    assert ended.document["citations"]
    assert caslie("search", "product 7", "--profile", PROFILE, "--json").document["products"]
    allow(run, 500)
    assert finish(run).document["products"] == PRODUCTS
    with closing(sqlite3.connect(store / DATABASE)) as database, database:
        # The question's own captions were remembered beside the catalogue's.
        assert database.execute("SELECT count(*) FROM captions").fetchone()[0] > len(content_of(clean)["captions"])
