"""Compares the vectors of the embedded models, which run on ONNX Runtime, with those of the same models in PyTorch.

python benchmarks/torch_vectors.py [IMAGE_FOLDER]

Needs the packages of the group ``dev``. Texts are those of the sample catalogue; images too, unless a folder is given.
"""

import argparse
import csv
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import heading
from numpy.typing import NDArray

from caslie_tools.backends.embedded import ImageClassifier, MiniLMEmbeddings, image_classifier, sentence_embeddings
from caslie_tools.backends.embedded.model_downloads import model_folder
from caslie_tools.domain import ImageRef
from caslie_tools.images.loading import ImageLoader, LoadedImage
from caslie_tools.sample import DEMO_QUESTIONS, catalogue_path

TOLERANCE = 1e-4
"""The most that any number of a vector may differ."""

Vectors = NDArray[np.float32]


def torch_sentence_vectors(texts: Sequence[str]) -> Vectors:
    """Returns the vectors of texts as PyTorch and transformers compute them."""
    import torch
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    package = sentence_embeddings.PACKAGE.installed()
    if package is None:
        raise SystemExit(f"needs the package {sentence_embeddings.PACKAGE.requirement}")
    folder = package / "model"
    model = BertModel(BertConfig.from_json_file(str(folder / "config.json")), add_pooling_layer=False).eval()
    weights = {
        name: value for name, value in load_file(str(folder / "model.safetensors")).items() if "pooler" not in name
    }
    model.load_state_dict(weights, strict=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()
    vectors = []
    with torch.inference_mode():
        for text in texts:
            hidden = model(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state
            vectors.append(torch.nn.functional.normalize(hidden.mean(1), dim=1).numpy()[0])
    return np.stack(vectors)


def torch_image_vectors(images: Sequence[LoadedImage]) -> tuple[Vectors, Vectors]:
    """Returns the vectors and class probabilities of images as PyTorch computes them."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    weights = model_folder(image_classifier.PACKAGE) / image_classifier.WEIGHTS
    model = EfficientNet.from_name("efficientnet-lite2")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    model.eval()
    vectors, probabilities = [], []
    with torch.inference_mode():
        for image in images:
            features = model.extract_features(torch.from_numpy(image_classifier.views(image.rgb()))).mean((2, 3))
            probabilities.append(torch.softmax(model._fc(features).mean(0), 0).numpy())
            unit = torch.nn.functional.normalize(features, dim=1)
            vectors.append(torch.nn.functional.normalize(unit.sum(0), dim=0).numpy())
    return np.stack(vectors), np.stack(probabilities)


def sample_texts() -> list[str]:
    """Returns the texts of the sample catalogue, and texts that are empty, long or not English."""
    with catalogue_path().open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = [value for row in rows for value in row.values() if value]
    texts += [asked.question for asked in DEMO_QUESTIONS]
    return [*dict.fromkeys(texts), "", "Crème brûlée, 東京 ½ l №5", "word " * 1000]


def images_in(folder: Path) -> list[LoadedImage]:
    """Loads the images in a folder and its subfolders."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".png", ".jpg", ".jpeg"})
    return [ImageLoader().load_sync(ImageRef(path=path)) for path in paths]


def _timed(compute: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return compute(), time.perf_counter() - started


def main() -> int:
    """Parses the command line and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("images", nargs="?", type=Path, default=catalogue_path().parent / "images")
    arguments = parser.parse_args()
    print(heading())
    texts, images = sample_texts(), images_in(arguments.images)
    ours, seconds = _timed(lambda: MiniLMEmbeddings().encode(texts))
    theirs, torch_seconds = _timed(lambda: torch_sentence_vectors(texts))
    classifier = ImageClassifier()
    classified, image_seconds = _timed(lambda: [classifier.classify(image) for image in images])
    (vectors, probabilities), torch_image_seconds = _timed(lambda: torch_image_vectors(images))
    differences = {
        f"vectors of {len(texts)} texts": (np.abs(ours - theirs).max(), seconds, torch_seconds),
        f"vectors of {len(images)} images": (
            np.abs(np.stack([each.vector for each in classified]) - vectors).max(), image_seconds, torch_image_seconds,
        ),
        "class probabilities": (
            np.abs(np.stack([each.probabilities for each in classified]) - probabilities).max(), image_seconds,
            torch_image_seconds,
        ),
    }  # fmt: skip
    for name, (difference, onnx_time, torch_time) in differences.items():
        print(
            f"{name}: largest difference {difference:.1e}; ONNX Runtime {onnx_time:.1f} s, PyTorch {torch_time:.1f} s"
        )
    return 0 if all(difference <= TOLERANCE for difference, *_ in differences.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
