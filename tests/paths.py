"""Where tests find files outside their own folder."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout."""

INSTANCES = ROOT / "examples" / "instances"

SHARED = ROOT.parent / "shared"
"""Data beside the checkout that most machines do not have: tests that need it skip."""

GROCERY = SHARED / "data" / "grocery"
