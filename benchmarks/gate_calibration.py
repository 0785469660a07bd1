"""Fits the numbers of the embedded predictor on cases of ``gate.py``: ``python benchmarks/gate.py ... --calibrate``."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from caslie_tools.backends.embedded.option_scoring import WEIGHTS, OptionScorer, ProductEvidence
from caslie_tools.backends.embedded.product_similarity import ProductSimilarity
from caslie_tools.domain import Caption
from caslie_tools.tasks import Instance


@dataclass(frozen=True)
class Case:
    """An instance with the captions of its images."""

    row: tuple[str, str, str, str]
    """Task, source, catalogue and kind of title."""
    instance: Instance
    captions: list[Caption | None]
    gold: str


def answer_of(case: Case) -> str:
    """Returns the text of the right option."""
    return next(option for option in case.instance.options if option.startswith(f"{case.gold}:"))[3:]


def fit_options(scorer: OptionScorer, cases: Sequence[Case]) -> None:
    """Prints the fitted weights of the options' features."""
    import torch

    tables = defaultdict(list)
    for case in cases:
        options = [option[3:] for option in case.instance.options]
        order = [options.index(answer_of(case)), *(i for i, option in enumerate(options) if option != answer_of(case))]
        title = str(case.instance.input["title"]) if isinstance(case.instance.input, dict) else ""
        for captions in ([], [caption for caption in case.captions if caption is not None]):
            evidence = ProductEvidence.from_captions(title, captions)
            tables[len(options)].append(scorer.features(evidence, options)[order])
    data = [torch.tensor(np.stack(group), dtype=torch.float64) for group in tables.values()]
    count = sum(len(group) for group in data)

    def loss(weights: torch.Tensor) -> torch.Tensor:
        fit = torch.stack([-torch.log_softmax(group @ weights, dim=1)[:, 0].sum() for group in data]).sum() / count
        return fit + 1e-3 * (weights**2).sum()

    weights = _minimise(loss, len(WEIGHTS))
    print("option weights:", {name: round(value, 2) for name, value in zip(WEIGHTS, weights, strict=True)})


def fit_similarity(similarity: ProductSimilarity, cases: Sequence[Case]) -> None:
    """Prints the fitted weights of the similarity of two products."""
    import torch

    rows, truth = [], []
    for case in cases:
        assert isinstance(case.instance.input, dict)
        titles = (str(case.instance.input["product 1"]), str(case.instance.input["product 2"]))
        for kept in (False, True):
            captions = [[caption] if kept and caption is not None else [] for caption in case.captions]
            rows.append(similarity.features(titles, (captions[0], captions[1])))
            truth.append(float(case.gold == "C"))
    data, labels = torch.tensor(np.array(rows), dtype=torch.float64), torch.tensor(truth, dtype=torch.float64)

    def loss(weights: torch.Tensor) -> torch.Tensor:
        fit = torch.nn.functional.binary_cross_entropy_with_logits(data @ weights, labels)
        return fit + 1e-4 * (weights**2).sum()

    print("similarity: title slope, title offset, image slope, image offset:", np.round(_minimise(loss, 4), 1).tolist())


def _minimise(loss: Callable[..., object], size: int) -> list[float]:
    import torch

    weights = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss(weights)
        assert isinstance(value, torch.Tensor)
        value.backward()
        return value

    optimiser.step(closure)
    found: list[float] = weights.detach().tolist()
    return found
