"""Builds instruction data in MMECInstruct's form from a shop's catalogue and logs."""

from caslie_tools.data.building.builder import abuild_dataset, build_dataset
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.report import BuildReport

__all__ = ["BuildOptions", "BuildReport", "abuild_dataset", "build_dataset"]
