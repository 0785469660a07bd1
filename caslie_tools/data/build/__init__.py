"""Builds instruction data in MMECInstruct's form from the catalogue and the logs a shop has."""

from caslie_tools.data.build.builder import abuild_dataset, build_dataset
from caslie_tools.data.build.options import BuildOptions
from caslie_tools.data.build.report import BuildReport

__all__ = ["BuildOptions", "BuildReport", "abuild_dataset", "build_dataset"]
