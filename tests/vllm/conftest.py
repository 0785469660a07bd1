"""These tests talk to a real vLLM: `make test-vllm` builds one and runs them. Anything else passes them over."""

import os
from collections.abc import Iterator

import pytest

from tests.vllm import fleet
from tests.vllm.servers import VllmServer

collect_ignore_glob = [] if os.environ.get("TEST_VLLM") == "1" else ["test_*.py"]


@pytest.fixture(scope="session")
def text_server() -> Iterator[VllmServer]:
    """Five judges and a predictor. A test that ends it must restart it."""
    with fleet.text_server() as server:
        yield server


@pytest.fixture(scope="session")
def vision_server() -> Iterator[VllmServer]:
    """A captioner and a judge that sees. A test that ends it must restart it."""
    with fleet.vision_server() as server:
        yield server


@pytest.fixture(scope="session")
def embedding_server() -> Iterator[VllmServer]:
    """Embeddings. A test that ends it must restart it."""
    with fleet.embedding_server() as server:
        yield server
