"""Sentence embeddings from a model behind an endpoint."""

from caslie_tools._concurrency import AsyncEmbeddings
from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.settings import EndpointEmbeddingsSettings
from caslie_tools.exceptions import ModelError


class EndpointEmbeddings(AsyncEmbeddings):
    """LangChain embeddings from ``/v1/embeddings``.

    Args:
        settings: Where the model is, and how many texts one request has.
    """

    def __init__(self, settings: EndpointEmbeddingsSettings) -> None:
        self.settings = settings
        self.endpoint = Endpoint(settings)

    @property
    def identity(self) -> str:
        """The model's name. A store that was built with another model is refused."""
        return self.settings.model

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Returns one vector per text.

        Raises:
            ModelError: If the endpoint fails or returns another number of vectors.
        """
        vectors: list[list[float]] = []
        for start in range(0, len(texts), self.settings.batch_size):
            batch = texts[start : start + self.settings.batch_size]
            response = await self.endpoint.embed(batch)
            if len(response) != len(batch):
                raise ModelError(f"{self.settings.model} returned {len(response)} vectors for {len(batch)} texts")
            vectors += response
        return vectors
