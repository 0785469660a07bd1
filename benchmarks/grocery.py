"""Measures how often the embedded profile finds the category of a product from a shelf photo alone.

``python benchmarks/grocery.py DATA [--calibrate]``

Prints recall@1 of category_classification without the title, on real photos (Grocery Store Dataset, Klasson et al.,
2019; its training split), with the captioner, jury, fusion and predictor of the profile. DATA is a folder with
products.csv and photos.csv.

A fixed seed splits the photos of each product into two halves. The fitted numbers (temperature, logistic function and
weights) come from the calibration half, and ``--calibrate`` prints them. The report uses the other half. The report is
slightly optimistic: the choice of views and features was explored on a different random half, which shares 119 photos
with the report, and the report was read before the numbers were fitted for the last time. Both halves come from the
same shops, often from the same shelf. State (c) therefore shows the result for a shop that has indexed its own photos,
not for an unseen shop.
"""

import argparse
import asyncio
import csv
import platform
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caslie_tools.backends.embedded.captioner import EmbeddedCaptioner
from caslie_tools.backends.embedded.image_analysis import ImageAnalyser
from caslie_tools.backends.embedded.image_classifier import ImageClassifier
from caslie_tools.backends.embedded.judges import embedded_jury
from caslie_tools.backends.embedded.option_scoring import FEATURES, OptionScorer, ProductEvidence
from caslie_tools.backends.embedded.predictor import EmbeddedPredictor
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.backends.embedded.text_recognition import TextReader
from caslie_tools.domain import Caption, ImageRef, Product
from caslie_tools.images.loading import ImageLoader, LoadedImage
from caslie_tools.pipeline.cqe import CQE
from caslie_tools.pipeline.ec3 import EC3
from caslie_tools.pipeline.unim3 import UniM3
from caslie_tools.roles.interfaces import CaptionRequest, JudgeRequest
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import Instance, get_task
from caslie_tools.tasks.fusion import fuse

SPLIT_SEED = 1
OPTIONS_SEED = 2
BOOTSTRAP_SEED = 3
OPTION_SETS = 5
"""Sets of options per photo. Each set has 19 randomly drawn wrong groups and the correct group."""
WRONG = 19


@dataclass(frozen=True)
class Photo:
    """A photo with the product that it shows."""

    product: Product
    image: LoadedImage


class CachedEmbeddings:
    """Caches image vectors in a folder between runs."""

    def __init__(self, classifier: ImageClassifier, folder: Path) -> None:
        self.classifier = classifier
        self.folder = folder / classifier.identity
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def identity(self) -> str:
        """The identity of the model."""
        return self.classifier.identity

    def embed_images(self, images: Sequence[LoadedImage]) -> list[list[float]]:
        """Returns one unit vector per image."""
        return [self._embed(image) for image in images]

    def _embed(self, image: LoadedImage) -> list[float]:
        path = self.folder / f"{image.sha256}.npy"
        if not path.exists():
            np.save(path, np.array(self.classifier.embed_images([image])[0]))
        vector: list[float] = np.load(path, allow_pickle=False).tolist()
        return vector


class Bench:
    """The data, the models and the stores."""

    def __init__(self, data: Path, cache: Path) -> None:
        loader = ImageLoader()
        with (data / "products.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.products = {
            row["id"]: Product(
                id=row["id"], title=row["title"], category=row["category"], brand=row["brand"],
                description=row["description"], images=(ImageRef(path=data / row["image"]),),
            )
            for row in rows
        }  # fmt: skip
        self.packshots = {id_: loader.load_sync(product.images[0]) for id_, product in self.products.items()}
        with (data / "photos.csv").open(encoding="utf-8", newline="") as file:
            photos = [
                Photo(self.products[row["id"]], loader.load_sync(ImageRef(path=data / row["image"])))
                for row in csv.DictReader(file)
            ]
        self.calibration, self.report = split(photos)
        self.groups = sorted({product.category for product in self.products.values()})
        self.embeddings = MiniLMEmbeddings()
        classifier = ImageClassifier()
        self.pictures = CachedEmbeddings(classifier, cache)
        analyses = CaptionStore.open(cache / "perceptions", self.embeddings)
        self.analyser = ImageAnalyser(classifier, TextReader(), analyses)
        self.task = get_task("category_classification")
        self._folder = tempfile.TemporaryDirectory()

    def store(self, *, packshots: bool, photos: Sequence[Photo] = ()) -> CaptionStore:
        """Returns a new store with the packshots and the given photos of the catalogue."""
        store = CaptionStore.open(
            tempfile.mkdtemp(dir=self._folder.name), self.embeddings, image_embeddings=self.pictures
        )
        if packshots:
            additional = defaultdict(list)
            for photo in photos:
                additional[photo.product.id].append(photo.image)
            items = []
            for id_, product in self.products.items():
                images = [self.packshots[id_], *additional[id_]]
                refs = tuple(ImageRef(data=image.data) for image in images)
                items.append((product.model_copy(update={"images": refs}), images))
            store.put_products(items)
        return store

    def instance(self, photo: Photo, wrong: Sequence[str]) -> Instance:
        """Returns the instance that asks for the group of a photo without the title."""
        groups = sorted([photo.product.category, *wrong])
        options = [f"{chr(65 + index)}: {name(group)}" for index, group in enumerate(groups)]
        answer = chr(65 + groups.index(photo.product.category))
        return self.task.read(
            {"input": {"title": ""}, "options": options, "output": answer}, [ImageRef(data=photo.image.data)]
        )

    def option_sets(self, photos: Sequence[Photo], sets: int = OPTION_SETS) -> list[list[list[str]]]:
        """Draws sets of wrong groups for each photo."""
        draw = random.Random(OPTIONS_SEED)  # noqa: S311 (a repeatable draw, no secret)
        return [
            [
                draw.sample([group for group in self.groups if group != photo.product.category], WRONG)
                for _ in range(sets)
            ]
            for photo in photos
        ]

    async def caption(self, photo: Photo, store: CaptionStore, title: str = "") -> Caption | None:
        """Captions a photo as EC3 does for this task."""
        ec3 = EC3([EmbeddedCaptioner(self.analyser, self.embeddings, store)])
        bare = Instance(task=self.task.name, input={"title": title}, options=("A: x",))
        context = self.task.places(bare)[0].context
        return await ec3.ainvoke(CaptionRequest(image=photo.image, context=context))

    async def recall(
        self, photos: Sequence[Photo], store: CaptionStore, *, gated: bool
    ) -> tuple[NDArray[np.float64], float]:
        """Returns the share of correctly answered option sets per photo, and the share of kept captions."""
        cqe = CQE(embedded_jury(self.embeddings))
        unim3 = UniM3(EmbeddedPredictor(self.embeddings))
        right = []
        kept = 0
        for photo, sets in zip(photos, self.option_sets(photos), strict=True):
            caption = await self.caption(photo, store)
            if caption is not None and gated:
                request = JudgeRequest(context=caption.context, caption=caption.text, evidence=caption.evidence)
                caption = caption if (await cqe.ainvoke(request)).kept else None
            kept += caption is not None
            hits = 0
            for wrong in sets:
                instance = self.instance(photo, wrong)
                prediction = await unim3.ainvoke(fuse(self.task, instance, [caption]))
                hits += prediction.label == instance.output
            right.append(hits / len(sets))
        return np.array(right), kept / len(photos)

    def naive(self, photos: Sequence[Photo]) -> NDArray[np.float64]:
        """Returns the result of the baseline per photo: the option nearest to the photo's joined tags and words."""
        right = []
        for photo, sets in zip(photos, self.option_sets(photos), strict=True):
            analysis = self.analyser.analyse(photo.image)
            tags = [tag.name for tag in analysis.tags[:3] if tag.probability >= 0.1]
            line = " ".join([*tags, *(text.text for text in analysis.text)]) or "product"
            vector = self.embeddings.encode([line])[0]
            hits = 0
            for wrong in sets:
                groups = [photo.product.category, *wrong]
                hits += int((self.embeddings.encode([name(group) for group in groups]) @ vector).argmax()) == 0
            right.append(hits / len(sets))
        return np.array(right)


def name(group: str) -> str:
    """Returns the last part of a group, for example ``Apple`` for ``Fruit > Apple``."""
    return group.rsplit(" > ", 1)[-1]


def split(photos: Sequence[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Splits the photos of each product into two halves: for calibration and for the report."""
    draw = random.Random(SPLIT_SEED)  # noqa: S311 (a repeatable split, no secret)
    by_product = defaultdict(list)
    for photo in photos:
        by_product[photo.product.id].append(photo)
    first, second = [], []
    for product in sorted(by_product):
        own = by_product[product]
        draw.shuffle(own)
        first += own[: len(own) // 2]
        second += own[len(own) // 2 :]
    return first, second


def interval(right: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the 95% bootstrap interval of the mean over photos."""
    draw = np.random.default_rng(BOOTSTRAP_SEED)
    means = right[draw.integers(0, len(right), size=(2000, len(right)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def calibrate_resemblance(bench: Bench, stores: Sequence[CaptionStore]) -> None:
    """Prints the recall of the group per vote temperature, and the fitted logistic function of the best cosine."""
    import torch

    photos = bench.calibration
    hits = [
        [store.nearest_pictures(photo.image, k=40, exclude_images=(photo.image.sha256,)) for photo in photos]
        for store in stores
    ]
    for temperature in (0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.06):
        recalls = []
        for found in hits:
            right = 0
            for photo, near in zip(photos, found, strict=True):
                votes: dict[str, float] = defaultdict(float)
                for hit in near:
                    votes[hit.products[0].category] += float(np.exp((hit.score - near[0].score) / temperature))
                right += max(votes, key=lambda group: votes[group]) == photo.product.category
            recalls.append(f"{right / len(photos):.3f}")
        print(f"vote temperature {temperature}: recall of the group, of all {len(bench.groups)}: {', '.join(recalls)}")
    best = torch.tensor([near[0].score for found in hits for near in found], dtype=torch.float64)
    truth = torch.tensor(
        [
            float(near[0].products[0].category == photo.product.category)
            for found in hits
            for photo, near in zip(photos, found, strict=True)
        ],
        dtype=torch.float64,
    )
    line = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(line[0] * best + line[1], truth)
        value.backward()
        return value

    optimiser.step(loss)
    slope, offset = line.detach().tolist()
    print(f"probability that the nearest image shows the group: slope {slope:.2f}, midpoint {-offset / slope:.3f}")


async def calibrate(bench: Bench) -> None:
    """Fits the weights of the option features on the calibration half and prints them.

    A photo is never its own neighbour, so the calibration half can also be the catalogue.
    """
    import torch

    photos = bench.calibration
    stores = [
        bench.store(packshots=False),
        bench.store(packshots=True),
        bench.store(packshots=True, photos=photos),
    ]
    calibrate_resemblance(bench, stores[1:])
    scorer = OptionScorer(bench.embeddings)
    tables = []
    for store in stores:
        for photo, sets in zip(photos, bench.option_sets(photos, 3), strict=True):
            caption = await bench.caption(photo, store)
            for index, wrong in enumerate(sets):
                # Some questions include the title, so that its weight is fitted together with those of the image.
                title = photo.product.title if index == 0 else ""
                evidence = ProductEvidence.from_captions(title, [caption] if caption else [])
                tables.append(scorer.features(evidence, [name(group) for group in (photo.product.category, *wrong)]))
    data = torch.tensor(np.stack(tables), dtype=torch.float64)
    weights = torch.zeros(len(FEATURES), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = -torch.log_softmax(data @ weights, dim=1)[:, 0].mean() + 1e-3 * (weights**2).sum()
        value.backward()
        return value

    optimiser.step(loss)
    found = weights.detach().numpy()
    print("weights:", {feature: round(float(value), 2) for feature, value in zip(FEATURES, found, strict=True)})
    print(f"log loss {float(loss().detach()):.3f} over {len(tables)} questions of {len(photos)} calibration photos")
    for label, store in zip(("empty", "packshots", "packshots and the other calibration photos"), stores, strict=True):
        right, _ = await bench.recall(photos, store, gated=False)
        print(f"calibration half, with the current weights, store {label}: {right.mean():.3f}")


async def report(bench: Bench) -> None:
    """Prints the table of the report."""
    photos = bench.report
    rows = [("tags and words joined, nearest option (baseline)", bench.naive(photos), 1.0)]
    states = {
        "(a) empty store": bench.store(packshots=False),
        "(b) 81 packshots indexed": bench.store(packshots=True),
        "(c) calibration half of the photos indexed too": bench.store(packshots=True, photos=bench.calibration),
    }
    for state, store in states.items():
        for gated in (False, True):
            right, kept = await bench.recall(photos, store, gated=gated)
            rows.append((f"{state}, {'behind the jury' if gated else 'every caption used'}", right, kept))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}")
    print(f"command: python {' '.join(sys.argv)}")
    print(
        f"seeds: split {SPLIT_SEED}, options {OPTIONS_SEED}, bootstrap {BOOTSTRAP_SEED}; {len(photos)} photos, "
        f"{OPTION_SETS} draws of {WRONG + 1} of {len(bench.groups)} groups each\n"
    )
    print("| category_classification, title withheld | recall@1 | 95% interval | n photos | captions kept |")
    print("|---|---|---|---|---|")
    for label, right, kept in rows:
        low, high = interval(right)
        print(f"| {label} | {right.mean():.3f} | {low:.3f} to {high:.3f} | {len(right)} | {kept:.0%} |")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with products.csv and photos.csv")
    parser.add_argument(
        "--cache", type=Path, default=Path(".caslie/grocery"), help="folder that caches image analyses between runs"
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="fit the weights on the calibration half instead of reporting"
    )
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    bench = Bench(arguments.data, arguments.cache)
    asyncio.run(calibrate(bench) if arguments.calibrate else report(bench))
    print(f"\n{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
