"""Sentence embeddings from an encoder in this process."""

import threading
from typing import Any

from caslie_tools._concurrency import AsyncEmbeddings
from caslie_tools.backends.transformers.loading import LoadedModel, load_encoder, require_extra
from caslie_tools.backends.transformers.settings import TransformersEmbeddingsSettings
from caslie_tools.backends.transformers.worker import ModelWorker


class TransformersEmbeddings(AsyncEmbeddings):
    """LangChain embeddings from an encoder in this process: unit vectors, by the mean over a text's tokens.

    Args:
        settings: Which encoder, and where it is loaded.

    Raises:
        MissingExtraError: If torch or transformers are not installed.
    """

    def __init__(self, settings: TransformersEmbeddingsSettings) -> None:
        require_extra(f"Running {settings.model} in this process")
        self.settings = settings
        self._worker = ModelWorker(settings.identity, lambda: load_encoder(settings))

    @property
    def identity(self) -> str:
        """The model's name with its revision, if one is set. A store that was built with another model is refused."""
        return self.settings.identity

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Returns one unit vector per text.

        Raises:
            ModelError: If the model cannot be loaded, or fails.
        """

        def work(loaded: LoadedModel, stop: threading.Event) -> list[list[float]]:
            vectors: list[list[float]] = []
            for start in range(0, len(texts), self.settings.batch_size):
                if stop.is_set():
                    break
                vectors += self._embed(loaded, texts[start : start + self.settings.batch_size])
            return vectors

        return await self._worker.run(work)

    def _embed(self, loaded: LoadedModel, texts: list[str]) -> Any:
        tokenizer, model = loaded.tokenizer, loaded.model
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        limit = min(self.settings.context_length, getattr(model.config, "max_position_embeddings", 512))
        encoded = tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        encoded = encoded.to(model.device)
        with loaded.torch.inference_mode():
            hidden = model(**encoded).last_hidden_state.float()
            weights = encoded["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
            return loaded.torch.nn.functional.normalize(mean, dim=1).tolist()
