"""Draws the images of the sample catalogue: ``python -m caslie_tools.sample.draw [DIR]``.

A :class:`Drawing` describes each image. It lists the facts that only the image contains, as text recognition reads
them, and the colour of the product. By default, the images are written to the folder ``images`` next to this file.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from caslie_tools.sample import shapes
from caslie_tools.sample.canvas import Canvas

COLOURS = {
    "beige": "#d8c3a0",
    "black": "#363a42",
    "blue": "#2c66b0",
    "brown": "#7d5236",
    "green": "#3c8a53",
    "grey": "#b4b4b4",
    "orange": "#e07b28",
    "pink": "#d9728f",
    "purple": "#73509c",
    "red": "#c63a32",
    "turquoise": "#2a9d9a",
    "yellow": "#ecc13c",
}
"""From the name of a product colour to its value as ``#rrggbb``."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Description of one image of the catalogue."""

    file: str
    """Name of the file."""
    colour: str
    """Name of the main colour, a key of :data:`COLOURS`."""
    paint: Callable[[Canvas, str], None]
    """Draws the image. Takes the canvas and the value of the colour."""
    facts: tuple[str, ...] = ()
    """Text in the image that the product's text does not contain."""
    silhouette: bool = False
    """Whether the image shows only an outline, in grey on white."""

    @property
    def adds_nothing(self) -> bool:
        """Whether the image shows nothing about the product that its text lacks."""
        return not self.facts

    def draw(self) -> Image.Image:
        """Returns the drawn image: square, :data:`~caslie_tools.sample.canvas.SIDE` pixels wide, with a palette."""
        value = COLOURS[self.colour]
        canvas = Canvas("#ffffff", ink=value) if self.silhouette else Canvas()
        self.paint(canvas, value)
        return canvas.finish()


def _printed(
    file: str, colour: str, shape: Callable[[Canvas, str, tuple[str, ...]], None], *lines: str, facts: str
) -> Drawing:
    """Describes a product with a label. ``facts`` are separated by ``|``."""
    return Drawing(
        file=f"{file}.png", colour=colour, paint=lambda c, v: shape(c, v, lines), facts=tuple(facts.split("|"))
    )


def _care(file: str, colour: str, temperature: str) -> Drawing:
    paint = partial(shapes.care_label, temperature=temperature)
    return Drawing(file=f"{file}.png", colour=colour, paint=paint, facts=(temperature,))


def _silhouette(file: str, shape: Callable[[Canvas, str], None]) -> Drawing:
    return Drawing(file=f"{file}.png", colour="grey", paint=shape, silhouette=True)


def _empty(file: str, colour: str, paint: Callable[[Canvas, str], None]) -> Drawing:
    return Drawing(file=f"{file}.png", colour=colour, paint=paint)


DRAWINGS: tuple[Drawing, ...] = (
    # Clothing
    _printed("fjord-jacket", "red", shapes.jacket, "SLIM FIT", "10000 mm", facts="SLIM FIT|10000 mm"),
    _printed("tarn-jacket", "blue", shapes.jacket, "LOOSE FIT", "20000 mm", facts="LOOSE FIT|20000 mm"),
    _care("tarn-jacket-care", "blue", "30 °C"),
    _empty("brook-raincoat", "grey", shapes.placeholder),
    _printed("merino-shirt", "green", shapes.shirt, "REGULAR", "FIT", facts="REGULAR FIT"),
    _care("merino-shirt-care", "green", "20 °C"),
    _silhouette("wool-beanie", shapes.beanie),
    # Headphones
    _printed("aria-headphones", "purple", shapes.headphones, "40 h", "BATTERY", facts="40 h"),
    _printed("aria-earphones", "turquoise", shapes.earphones, "SWEAT", "PROOF IPX5", facts="IPX5"),
    _silhouette("studio-headphones", shapes.headphones),
    # Power
    _printed("voltis-desk-charger", "black", shapes.charger, "65 W", "USB-C", facts="65 W|USB-C"),
    _printed("voltis-travel-charger", "orange", shapes.charger, "20 W", "USB-A", facts="20 W|USB-A"),
    _printed("voltis-power-bank", "pink", shapes.power_bank, "10000", "mAh", facts="10000 mAh"),
    _empty("voltis-cable", "blue", partial(shapes.logo, brand="VOLTIS")),
    # Lights
    _printed("trail-headlamp", "orange", shapes.headlamp, "WATERPROOF", "IP67", facts="WATERPROOF|IP67"),
    _printed("trail-headlamp-box", "orange", shapes.carton_box, "400", "LUMEN", facts="400 LUMEN"),
    _printed("ridge-headlamp", "green", shapes.headlamp, "SPLASHPROOF", "IPX4", facts="SPLASHPROOF|IPX4"),
    _printed("commuter-front-light", "red", shapes.bike_light, "80 LUX", "IP65", facts="80 LUX|IP65"),
    _empty("commuter-rear-light", "beige", shapes.shelves),
    _printed("camp-lantern", "turquoise", shapes.lantern, "1000", "LUMEN", facts="1000 LUMEN"),
    # Bottles
    _printed("kelp-bottle", "green", shapes.bottle, "KELP", "750 ml", facts="750 ml"),
    _printed("reed-bottle", "pink", shapes.bottle, "REED", "500 ml", facts="500 ml"),
    _printed("summit-flask", "blue", shapes.flask, "SUMMIT", "750 ml", facts="750 ml"),
    _empty("summit-flask-parcel", "beige", shapes.shelves),
    _silhouette("pebble-bottle", shapes.bottle),
    # Kitchen
    _printed("ember-mug", "yellow", shapes.mug, "DISHWASHER", "SAFE", facts="DISHWASHER SAFE"),
    _printed("brisk-kettle", "turquoise", shapes.kettle, "1.7 L", "2200 W", facts="1.7 L|2200 W"),
    _printed("forge-pan", "black", shapes.pan, "INDUCTION", "28 cm", facts="INDUCTION|28 cm"),
    # Grocery
    _printed("meadow-oat-drink", "yellow", shapes.carton, "OAT DRINK", "VEGAN", "1 L", facts="VEGAN|1 L"),
    _printed("meadow-barista", "brown", shapes.carton, "BARISTA", "NO ADDED", "SUGAR", facts="NO ADDED SUGAR"),
    _printed("orchard-juice", "red", shapes.carton, "APPLE JUICE", "PRODUCT OF", "AUSTRIA", facts="PRODUCT OF AUSTRIA"),
    _printed(
        "hillside-rooibos",
        "orange",
        shapes.tea_box,
        "ROOIBOS",
        "CAFFEINE FREE",
        "20 BAGS",
        facts="CAFFEINE FREE|20 BAGS",
    ),
    _printed(
        "hillside-black-tea", "purple", shapes.tea_box, "BLACK TEA", "PRODUCT OF", "KENYA", facts="PRODUCT OF KENYA"
    ),
    _empty("morrow-coffee", "brown", partial(shapes.logo, brand="MORROW")),
    # Garden
    _printed("fern-watering-can", "green", shapes.watering_can, "FERN", "9 L", facts="9 L"),
    _printed("fern-hose", "yellow", shapes.hose, "20 m", "LONG", facts="20 m"),
    _silhouette("fern-shears", shapes.shears),
)
"""All images of the catalogue."""


def draw_images(folder: Path) -> None:
    """Draws all images into a folder. On the same machine, the bytes of the files are always the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for drawing in DRAWINGS:
        drawing.draw().save(folder / drawing.file, optimize=True)


def main() -> None:
    """Draws the images and prints the folder."""
    parser = argparse.ArgumentParser(description="Draw the images of the sample catalogue.")
    parser.add_argument("folder", metavar="DIR", type=Path, nargs="?", default=Path(__file__).with_name("images"))
    folder: Path = parser.parse_args().folder
    draw_images(folder)
    sys.stdout.write(f"{len(DRAWINGS)} images in {folder}\n")


if __name__ == "__main__":
    main()
