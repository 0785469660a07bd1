"""Runs models with ONNX Runtime.

The graph of a model is a file of this package. It refers to the weights in the file that another package publishes, so
the weights are neither converted nor copied. ``scripts/onnx_graphs.py`` writes the graphs.
"""

from pathlib import Path
from typing import Any, Final

from caslie_tools.backends.embedded.packaged_models import require
from caslie_tools.exceptions import ModelError

GRAPHS: Final = Path(__file__).parent / "onnx"
"""The folder of the graphs."""
THREADS: Final = 1
"""Threads of one call of a model. Two images on one core each are faster than one image on both cores. The latter slows
down many times when another process needs a core."""

_ERRORS_ONLY: Final = 3


def onnx_session(graph: str, weights: Path, purpose: str) -> Any:
    """Loads a model and returns its ``onnxruntime.InferenceSession``. Several threads may use it.

    Args:
        graph: Name of the graph's file.
        weights: The folder of the file with the weights. The file must have been verified.
        purpose: What the model is needed for, as the start of a sentence.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        ModelError: ONNX Runtime cannot load the model.
    """
    runtime = require("onnxruntime", purpose)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    options.log_severity_level = _ERRORS_ONLY
    # Memory is returned after each call. An arena would keep the most that any call needed.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
    try:
        return runtime.InferenceSession((GRAPHS / graph).read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no base class for its errors
        raise ModelError(f"the model {graph} cannot be loaded: {error}") from error
