"""The dominant colours of the product in an image, by their basic names."""

from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caslie_tools.domain import FrozenModel, Probability

_ANCHORS: Final[dict[str, tuple[str, ...]]] = {
    "black": ("#000000", "#24262b", "#363a42"),
    "white": ("#ffffff", "#ececec"),
    "grey": ("#808080", "#a9a9a9", "#c8c8c8", "#5f6368"),
    "red": ("#d62222", "#a01818", "#c63a32", "#f04a3c", "#8e1b2b"),
    "orange": ("#f28c1e", "#e07b28", "#ffa84a", "#d9661f"),
    "yellow": ("#f5d327", "#ecc13c", "#fff07a", "#d9b310"),
    "green": ("#2f8f3e", "#3c8a53", "#7fbf3f", "#1d5a2b", "#a8c94a", "#5d7c2e"),
    "turquoise": ("#2a9d9a", "#40e0d0", "#1b7f86"),
    "blue": ("#2c66b0", "#1f3c88", "#4f9be8", "#9cc7f0", "#14224a"),
    "purple": ("#73509c", "#4b2a6b", "#a678d0", "#4a2540"),
    "pink": ("#d9728f", "#f4a6c0", "#e84a9a"),
    "brown": ("#7d5236", "#5a3620", "#a5713f", "#8a6a4a"),
    "beige": ("#d8c3a0", "#e8dcc0", "#c7ae85"),
}
"""From a basic colour name to examples of the colour, as ``#rrggbb``."""

COLOUR_NAMES: Final = frozenset(_ANCHORS)

_SIDE: Final = 96
_PALETTE: Final = 24
_MIN_SHARE: Final = 0.08
_MIN_BORDER_SHARE: Final = 0.5
"""Minimum share of the border that a colour must cover to be a uniform background."""
_MAX_DISTANCE: Final = 12.0
"""Maximum distance in CIELAB of a colour that still belongs to a uniform background, such as shadows and JPEG noise."""
_WHITE: Final = 245.0
_MAX_GAIN: Final = 1.4
"""A photo whose lightest parts are darker than white is brightened, at most by this factor. Otherwise white things that
were photographed indoors would be called grey."""
_BORDER: Final = 0.06
"""Width of the border, relative to the shorter side."""
_CENTRE: Final = 0.3
"""Standard deviation of the Gaussian weight around the centre, relative to the sides."""


class Colour(FrozenModel):
    """A colour and the share of the product that has this colour."""

    name: str
    share: Probability


def dominant_colours(image: Image.Image, *, limit: int = 3) -> tuple[Colour, ...]:
    """Returns the colours of the product in an image, the largest share first.

    Colours with a share below 8% are left out. A uniform background, which covers most of the border, does not count.
    On any other background, such as a shelf, a hand or a floor, a colour counts by how much more common it is in the
    centre than on the border. A flat grey shape on a white background has no colours: it is a placeholder outline, and
    its grey is not the colour of the product.

    Args:
        image: The image.
        limit: Maximum number of colours.
    """
    small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    indexed = small.quantize(_PALETTE, Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
    flat = indexed.getpalette() or []
    index = np.asarray(indexed)
    values = np.array(flat[: 3 * (int(index.max()) + 1)], dtype=np.float64).reshape(-1, 3)
    lab = _lab(np.minimum(255.0, values * _gain(small)))
    border, centre = _border_and_centre(index, len(values))
    common = int(border.argmax())
    background = np.linalg.norm(lab - lab[common], axis=1) < _MAX_DISTANCE
    weights = np.bincount(index.ravel(), minlength=len(values)) / index.size
    if border[background].sum() > _MIN_BORDER_SHARE and weights[~background].sum() > 0.01:
        weights[background] = 0.0
        if _is_outline(values[common], values[weights > 0], weights[weights > 0]):
            return ()
    if border[~background].sum() > 1 - _MIN_BORDER_SHARE:
        own = centre * np.clip((centre / (centre + border + 1e-9) - 0.45) / 0.25, 0.0, 1.0)
        weights = own if own.sum() > 0.02 else centre
    shares: Counter[str] = Counter()
    for colour, weight in zip(lab, weights, strict=True):
        shares[_name(colour)] += weight / weights.sum()
    return tuple(
        Colour(name=name, share=min(1.0, float(share)))
        for name, share in shares.most_common(limit)
        if share >= _MIN_SHARE
    )


def _gain(image: Image.Image) -> float:
    """Returns the factor that makes the lightest parts of a photo white."""
    lightest = float(np.percentile(np.asarray(image).reshape(-1, 3), 97, axis=0).max())
    return min(_MAX_GAIN, max(1.0, _WHITE / max(lightest, 1.0)))


def _border_and_centre(index: NDArray[np.uint8], size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns each colour's share of the border and of the centre.

    Args:
        index: The number of the colour of each pixel, of shape (height, width).
        size: Number of colours.
    """
    height, width = index.shape
    edge = max(1, round(_BORDER * min(height, width)))
    inside = np.zeros(index.shape, dtype=bool)
    inside[edge : height - edge, edge : width - edge] = True
    rows = np.exp(-((np.linspace(-0.5, 0.5, height) / _CENTRE) ** 2) / 2)
    columns = np.exp(-((np.linspace(-0.5, 0.5, width) / _CENTRE) ** 2) / 2)
    weight = np.outer(rows, columns)
    border = np.bincount(index[~inside], minlength=size) / max(1, int((~inside).sum()))
    centre = np.bincount(index.ravel(), weights=weight.ravel(), minlength=size) / weight.sum()
    return border, centre


def _is_outline(background: NDArray[np.float64], shown: NDArray[np.float64], counts: NDArray[np.float64]) -> bool:
    greys = np.ptp(shown, axis=1) < 6
    main = shown[int(counts.argmax())]
    flat = counts[np.linalg.norm(shown - main, axis=1) < 12].sum() / counts.sum()
    return bool(background.min() > 250 and greys.all() and flat > 0.8 and 90 < main.mean() < 230)


def _lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Converts sRGB (0 to 255) to CIELAB (white point D65), in which distances approximate perceived differences."""
    scaled = rgb / 255.0
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def _rgb(value: str) -> list[int]:
    return [int(value[start : start + 2], 16) for start in (1, 3, 5)]


_NAMES: Final = [name for name, values in _ANCHORS.items() for _ in values]
_VALUES: Final = _lab(np.array([_rgb(value) for values in _ANCHORS.values() for value in values], dtype=np.float64))


def _name(lab: NDArray[np.float64]) -> str:
    return _NAMES[int(np.linalg.norm(_VALUES - lab, axis=1).argmin())]
