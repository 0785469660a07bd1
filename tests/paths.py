"""Where tests find files outside their own folder."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
"""The checkout."""

INSTANCES = ROOT / "examples" / "instances"

SHARED = ROOT.parent / "shared"
"""The maintainers' data beside the checkout. Tests that need it are skipped on other machines."""

GROCERY = SHARED / "data" / "grocery"
"""81 products with photographs."""

PROMPTS = SHARED / "spec" / "wire_examples.json"
"""Prompts of the published models."""

needs_grocery = pytest.mark.skipif(
    not (GROCERY / "photos.csv").is_file(), reason="needs the photographs in ../shared/data/grocery"
)
needs_prompts = pytest.mark.skipif(not PROMPTS.is_file(), reason="needs the prompts in ../shared/spec")
