"""The three servers that stand for all of CASLIE's roles: text under several names, vision, embeddings."""

from tests.vllm import environment
from tests.vllm.servers import VllmServer

JUDGES = ("judge-1", "judge-2", "judge-3", "judge-4", "judge-5")
PREDICTOR = "predictor"
CAPTIONER = "captioner"
SIGHTED_JUDGE = "sighted-judge"
EMBEDDINGS = "embeddings"

EMBEDDING_DIMENSIONS = 576
IMAGE_TOKENS = 16
"""What every picture comes to in a prompt of the vision model."""
BOS = "<|endoftext|>"
"""The text model's tokenizer puts it first by itself, as those of Llama and Mistral do theirs."""


def text_server() -> VllmServer:
    """Five judges and a predictor: one model under six names."""
    return _server("text", (*JUDGES, PREDICTOR), "--max-model-len", "4096")


def vision_server() -> VllmServer:
    """A captioner and a judge that sees: one model under two names, one picture in a prompt."""
    limits = ("--max-model-len", "2048", "--limit-mm-per-prompt", '{"image": 1}')
    return _server("vision", (CAPTIONER, SIGHTED_JUDGE), *limits)


def embedding_server() -> VllmServer:
    """The text model's last hidden state as an embedding."""
    return _server("text", (EMBEDDINGS,), "--max-model-len", "512", "--runner", "pooling", "--convert", "embed")


def _server(model: str, names: tuple[str, ...], *options: str) -> VllmServer:
    logs = environment.HOME / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{names[0]}.log"
    log.unlink(missing_ok=True)
    return VllmServer(environment.MODELS / model, names, log, options)
