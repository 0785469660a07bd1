"""Formats that this installation of Pillow cannot decode are reported, and all other formats still work."""

import os
import subprocess
import sys
import textwrap

import pytest
from PIL import features

from caslie_tools.images.decoding import supported_formats
from tests.paths import ROOT
from tests.time_limits import HANG_SECONDS


def test_the_supported_formats_depend_on_the_libraries_of_pillow() -> None:
    expected = {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"} | ({"AVIF"} if features.check("avif") else set())

    assert set(supported_formats()) == expected


def run_without(module: str, script: str) -> None:
    """Runs a script in a new interpreter in which one module of Pillow cannot be imported.

    The script can call ``load(data)``, ``encoded(kind, **options)`` and ``error(data)``, which returns a message.
    """
    prelude = f"""
        import io, sys
        from PIL import Image
        colours = Image.new("RGB", (40, 20), "red")

        def encoded(kind, **options):
            buffer = io.BytesIO()
            colours.save(buffer, kind, **options)
            return buffer.getvalue()

        kinds = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]
        encoded_as = {{kind: encoded(kind) for kind in kinds}}
        exif = Image.Exif()
        exif[0x0112] = 6
        rotated = encoded("JPEG", exif=exif)
        for name in [name for name in sys.modules if name == "PIL" or name.startswith("PIL.")]:
            del sys.modules[name]
        sys.modules["{module}"] = None
        from caslie_tools.domain import ImageRef
        from caslie_tools.exceptions import ImageError
        from caslie_tools.images.loading import ImageLoader

        def load(data):
            return ImageLoader().load_sync(ImageRef(data=data))

        def error(data):
            try:
                load(data)
            except ImageError as caught:
                return str(caught)
            raise AssertionError("no error")
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(script)],
        capture_output=True, text=True, timeout=HANG_SECONDS, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("PIL.WebPImagePlugin", "WEBP"),
        ("PIL._webp", "WEBP"),
        ("PIL.JpegImagePlugin", "JPEG"),
        ("PIL.TiffImagePlugin", "TIFF"),
    ],
)
def test_a_format_whose_plugin_cannot_be_imported_is_unsupported_and_the_others_work(module: str, kind: str) -> None:
    script = f"""
        for kind in kinds:
            if kind != "{kind}":
                assert load(encoded_as[kind]).media_type == f"image/{{kind.lower()}}", kind
        message = error(encoded_as["{kind}"])
        supported, missing = message.split(";")
        assert "not an image in a supported format" in supported and "{kind}" not in supported, message
        assert "does not support" in missing and "{kind}" in missing, message
    """
    run_without(module, script)


def test_an_image_whose_rotation_cannot_be_read_for_a_missing_plugin_is_refused() -> None:
    """Pillow reads EXIF metadata with its TIFF plugin. Ignoring the failure would return the image unrotated."""
    script = """
        assert "Pillow cannot import PIL.TiffImagePlugin; reinstall Pillow" in error(rotated), error(rotated)
        assert load(encoded_as["JPEG"]).width == 40
    """
    run_without("PIL.TiffImagePlugin", script)
