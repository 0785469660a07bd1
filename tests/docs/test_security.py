"""SECURITY.md names tests that exist, and the limits as they are."""

import re

from caslie_tools.images.decoding import MAX_ASPECT, WORKING_PIXELS
from caslie_tools.images.loading import ImageLimits
from caslie_tools.pipeline.budget import MAX_QUESTION_CHARACTERS, MAX_RECORD_CHARACTERS
from caslie_tools.settings import Settings
from tests.paths import ROOT

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_boundary_has_tests_that_exist() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 8
    for row in rows:
        files = re.findall(r"`(tests/[\w/]+\.py)`", row)
        assert files, row
        assert all((ROOT / file).is_file() for file in files), row


def test_the_limits_are_those_of_the_code() -> None:
    images, settings = ImageLimits(), Settings()
    assert f"{images.max_bytes // 2**20} MiB, {images.max_pixels // 10**6} megapixels" in PAGE
    assert f"at most {MAX_ASPECT} times as long as wide" in PAGE
    assert f"above {WORKING_PIXELS // 10**6} megapixels" in PAGE
    assert f"{images.timeout_seconds:.0f} seconds in all" in PAGE
    assert f"{settings.max_images} images, {settings.max_request_bytes // 2**20} MiB" in PAGE
    assert f"{MAX_QUESTION_CHARACTERS:,} characters of a question" in PAGE
    assert MAX_RECORD_CHARACTERS == 1_000_000
