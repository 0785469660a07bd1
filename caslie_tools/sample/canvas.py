"""A square canvas with antialiased shapes, from which the sample images are composed.

Coordinates are pixels of the finished image, from 0 to :data:`SIDE`, with the origin at the top left. All shapes are
drawn at a larger scale and then scaled down, which smooths their edges.
"""

from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFont

from caslie_tools.exceptions import InputError

SIDE = 640
"""Width and height of an image in pixels."""
SMALLEST_TEXT = 44
"""Minimum font size of a fact in pixels. Capital letters of this size are at least 30 pixels high."""
_SCALE = 4
_COLOURS = 64

Point = tuple[float, float]
Box = tuple[float, float, float, float]


class Canvas:
    """An image that is being drawn.

    Args:
        background: Background colour, as ``#rrggbb``.
        ink: If given, all shapes are drawn in this single colour, without text or shadows. The result is a silhouette.
    """

    def __init__(self, background: str = "#f3f0e9", *, ink: str | None = None) -> None:
        self._image = Image.new("RGB", (SIDE * _SCALE, SIDE * _SCALE), background)
        self._draw = ImageDraw.Draw(self._image)
        self._background = background
        self._ink = ink

    @property
    def background(self) -> str:
        """The background colour, for example to draw holes."""
        return self._background

    def finish(self) -> Image.Image:
        """Returns the image in its final size, with a palette."""
        return self._image.reduce(_SCALE).quantize(_COLOURS, dither=Image.Dither.NONE)

    def polygon(self, points: Sequence[Point], fill: str) -> None:
        """Fills a polygon with straight edges."""
        self._draw.polygon(_scaled(points), fill=self._colour(fill))

    def blob(self, points: Sequence[Point], fill: str) -> None:
        """Fills a closed shape with rounded corners (Chaikin's corner cutting)."""
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
        """Fills the ellipse that touches the sides of a box (left, top, right, bottom)."""
        self._draw.ellipse(_scaled_box(box), fill=self._colour(fill))

    def arc(self, box: Box, start: float, end: float, width: float, fill: str) -> None:
        """Draws part of the outline of an ellipse, in degrees clockwise from three o'clock."""
        self._draw.arc(_scaled_box(box), start, end, fill=self._colour(fill), width=round(width * _SCALE))

    def line(self, points: Sequence[Point], width: float, fill: str) -> None:
        """Draws a line of straight segments with round joints and ends."""
        colour = self._colour(fill)
        self._draw.line(_scaled(points), fill=colour, width=round(width * _SCALE), joint="curve")
        for x, y in points:
            self._draw.ellipse(_scaled_box((x - width / 2, y - width / 2, x + width / 2, y + width / 2)), fill=colour)

    def shade(self, box: Box, strength: float = 0.12) -> None:
        """Darkens the shapes inside a box, but not the background, like the side of a product away from the light."""
        if self._ink is not None:
            return
        area = tuple(round(edge) for edge in _scaled_box(box))
        part = self._image.crop((area[0], area[1], area[2], area[3]))
        background = Image.new("RGB", part.size, self._background)
        drawn = ImageChops.difference(part, background).convert("L").point([0] + [255] * 255)
        dark = Image.blend(part, Image.new("RGB", part.size), strength)
        self._image.paste(dark, (area[0], area[1]), drawn)

    def shadow(self, middle: float, y: float, width: float) -> None:
        """Draws the shadow under a product."""
        if self._ink is None:
            self.ellipse((middle - width / 2, y - 14, middle + width / 2, y + 14), "#e2ddd2")
            self.ellipse((middle - width * 0.42, y - 8, middle + width * 0.42, y + 8), "#d3cdc0")

    def text(self, middle: Point, text: str, size: float, fill: str, *, bold: bool = True) -> None:
        """Draws one line of text centred on a point, in Pillow's default font."""
        if self._ink is None:
            font = ImageFont.load_default(size * _SCALE)
            x, y = middle[0] * _SCALE, middle[1] * _SCALE
            stroke = round(size * _SCALE / 30) if bold else 0
            self._draw.text((x, y), text, fill, font, anchor="mm", stroke_width=stroke, stroke_fill=fill)

    def label(self, box: Box, lines: Sequence[str], fill: str = "#ffffff", text: str = "#1d2733") -> None:
        """Draws a label with lines of text, each in the largest font size that fits.

        Raises:
            InputError: A line fits only in a font smaller than :data:`SMALLEST_TEXT`.
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
        """Draws a label that hangs on a string from a point of the product."""
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
