"""The harness itself: a server that dies, hangs or never starts, and leaves nothing behind."""

from pathlib import Path

import httpx
import pytest

from tests.vllm import fleet
from tests.vllm.servers import VllmServer

STORY = {"model": fleet.PREDICTOR, "prompt": "Once upon a time", "max_tokens": 3000, "ignore_eos": True, "stream": True}


def test_killed_in_mid_answer_and_restarted_on_the_same_port(text_server: VllmServer) -> None:
    address = text_server.url
    try:
        with text_server.client() as client, client.stream("POST", "/v1/completions", json=STORY) as answer:
            lines = answer.iter_lines()
            next(lines)
            text_server.kill()
            with pytest.raises(httpx.TransportError):
                list(lines)
        assert not text_server.running
        with text_server.client() as client, pytest.raises(httpx.ConnectError):
            client.get("/health")
    finally:
        text_server.restart()
    with text_server.client() as client:
        assert client.get("/v1/models").is_success
    assert text_server.url == address


def test_paused_it_accepts_and_is_silent(text_server: VllmServer) -> None:
    with text_server.client(timeout=0.5) as client:
        with text_server.paused(), pytest.raises(httpx.ReadTimeout):
            client.get("/health")
        assert client.get("/health", timeout=30).is_success


def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = VllmServer(tmp_path / "no-model", ["judge-1"], tmp_path / "server.log")
    with pytest.raises(RuntimeError, match="no-model"):
        server.start()
    assert not server.running
