from collections.abc import AsyncIterator

import pytest

from caslie_tools.backends.endpoints.embeddings import EndpointEmbeddings
from caslie_tools.backends.endpoints.settings import EndpointEmbeddingsSettings
from caslie_tools.exceptions import ModelError
from caslie_tools.testing import FaultyServer


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer() as running:
        yield running


async def test_texts_are_embedded_in_batches_and_in_order(server: FaultyServer) -> None:
    embeddings = EndpointEmbeddings(EndpointEmbeddingsSettings(urls=(server.url,), model="model", batch_size=2))
    texts = ["one", "two", "three"]
    vectors = await embeddings.aembed_documents(texts)
    assert [len(received.body["input"]) for received in server.requests] == [2, 1]
    assert vectors == [await embeddings.aembed_query(text) for text in texts]
    assert embeddings.identity == "model"


def test_a_server_that_is_down_is_a_model_error() -> None:
    settings = EndpointEmbeddingsSettings(urls=("http://127.0.0.1:9/v1",), model="model", max_attempts=1)
    with pytest.raises(ModelError, match="model"):
        EndpointEmbeddings(settings).embed_query("one")
