"""A square canvas with smooth edges: the few strokes that the sample pictures are made of.

Coordinates are pixels of the finished picture, 0 to :data:`SIDE` from the top left. Everything is drawn larger and
averaged down, which smooths the edges.
"""

from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFont

from caslie_tools.exceptions import InputError

SIDE = 640
"""Width and height of a picture in pixels."""
SMALLEST_TEXT = 44
"""Smallest font size in pixels that a fact is printed in: capitals are then at least 30 px high."""
_SCALE = 4
_COLOURS = 64

Point = tuple[float, float]
Box = tuple[float, float, float, float]


class Canvas:
    """One picture being drawn.

    Args:
        background: Colour of the ground, as ``#rrggbb``.
        ink: Where given, everything is drawn in this one colour and without text or shadow: a silhouette.
    """

    def __init__(self, background: str = "#f3f0e9", *, ink: str | None = None) -> None:
        self._image = Image.new("RGB", (SIDE * _SCALE, SIDE * _SCALE), background)
        self._draw = ImageDraw.Draw(self._image)
        self._background = background
        self._ink = ink

    @property
    def background(self) -> str:
        """The ground's colour, to cut holes with."""
        return self._background

    def finish(self) -> Image.Image:
        """Returns the picture in its final size, with a palette."""
        return self._image.reduce(_SCALE).quantize(_COLOURS, dither=Image.Dither.NONE)

    def polygon(self, points: Sequence[Point], fill: str) -> None:
        """Fills a polygon with straight edges."""
        self._draw.polygon(_scaled(points), fill=self._colour(fill))

    def blob(self, points: Sequence[Point], fill: str) -> None:
        """Fills a closed shape whose corners are rounded off (Chaikin's corner cutting)."""
        smooth = list(points)
        for _ in range(4):
            following = [*smooth[1:], smooth[0]]
            smooth = [
                point
                for (x, y), (u, v) in zip(smooth, following, strict=True)
                for point in (((3 * x + u) / 4, (3 * y + v) / 4), ((x + 3 * u) / 4, (y + 3 * v) / 4))
            ]
        self.polygon(smooth, fill)

    def box(self, box: Box, fill: str, radius: float = 0) -> None:
        """Fills a box (left, top, right, bottom) with rounded corners."""
        self._draw.rounded_rectangle(_scaled_box(box), radius * _SCALE, fill=self._colour(fill))

    def ellipse(self, box: Box, fill: str) -> None:
        """Fills the ellipse that touches the box's sides."""
        self._draw.ellipse(_scaled_box(box), fill=self._colour(fill))

    def arc(self, box: Box, start: float, end: float, width: float, fill: str) -> None:
        """Draws part of an ellipse's rim, in degrees clockwise from three o'clock."""
        self._draw.arc(_scaled_box(box), start, end, fill=self._colour(fill), width=round(width * _SCALE))

    def line(self, points: Sequence[Point], width: float, fill: str) -> None:
        """Draws a line of straight pieces with round joints and ends."""
        colour = self._colour(fill)
        self._draw.line(_scaled(points), fill=colour, width=round(width * _SCALE), joint="curve")
        for x, y in points:
            self._draw.ellipse(_scaled_box((x - width / 2, y - width / 2, x + width / 2, y + width / 2)), fill=colour)

    def shade(self, box: Box, strength: float = 0.12) -> None:
        """Darkens what is drawn inside the box, ground excepted, as on a product's side away from the light."""
        if self._ink is not None:
            return
        area = tuple(round(edge) for edge in _scaled_box(box))
        part = self._image.crop((area[0], area[1], area[2], area[3]))
        ground = Image.new("RGB", part.size, self._background)
        drawn = ImageChops.difference(part, ground).convert("L").point([0] + [255] * 255)
        dark = Image.blend(part, Image.new("RGB", part.size), strength)
        self._image.paste(dark, (area[0], area[1]), drawn)

    def shadow(self, middle: float, y: float, width: float) -> None:
        """Lays a shadow on the ground under a product."""
        if self._ink is None:
            self.ellipse((middle - width / 2, y - 14, middle + width / 2, y + 14), "#e2ddd2")
            self.ellipse((middle - width * 0.42, y - 8, middle + width * 0.42, y + 8), "#d3cdc0")

    def text(self, middle: Point, text: str, size: float, fill: str, *, bold: bool = True) -> None:
        """Writes one line of text around a middle point, in Pillow's own font."""
        if self._ink is None:
            font = ImageFont.load_default(size * _SCALE)
            x, y = middle[0] * _SCALE, middle[1] * _SCALE
            stroke = round(size * _SCALE / 30) if bold else 0
            self._draw.text((x, y), text, fill, font, anchor="mm", stroke_width=stroke, stroke_fill=fill)

    def label(self, box: Box, lines: Sequence[str], fill: str = "#ffffff", text: str = "#1d2733") -> None:
        """Pastes a label and prints lines on it, each as large as fits.

        Raises:
            InputError: If a line would be printed smaller than :data:`SMALLEST_TEXT`.
        """
        if self._ink is not None:
            return
        self.box(box, fill, radius=12)
        left, top, right, bottom = box
        pitch = (bottom - top - 16) / len(lines)
        for number, line in enumerate(lines):
            width = ImageFont.load_default(100).getlength(line) + 8
            size = min(pitch * 0.86, 100 * (right - left - 24) / width)
            if size < SMALLEST_TEXT:
                raise InputError(f"the label has no room for {line!r}: size {size:.0f}, make the label larger")
            self.text(((left + right) / 2, top + 8 + pitch * (number + 0.5)), line, size, text)

    def tag(self, hook: Point, box: Box, lines: Sequence[str], fill: str = "#ffffff", text: str = "#1d2733") -> None:
        """Hangs a label on a string from a point of the product."""
        if self._ink is not None:
            return
        knot = ((box[0] + box[2]) / 2, box[1] + 2)
        self.line([hook, knot], 4, "#6c6457")
        self.box((box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3), "#6c6457", radius=14)
        self.label(box, lines, fill, text)

    def _colour(self, fill: str) -> str:
        return fill if self._ink is None or fill == self._background else self._ink


def _scaled(points: Sequence[Point]) -> list[Point]:
    return [(x * _SCALE, y * _SCALE) for x, y in points]


def _scaled_box(box: Box) -> Box:
    return box[0] * _SCALE, box[1] * _SCALE, box[2] * _SCALE, box[3] * _SCALE
