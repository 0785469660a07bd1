"""Lets a torchvision built for CUDA be imported on a processor build of PyTorch: vLLM needs no more of it than that.

Copied into the environment of the vLLM servers, where a ``.pth`` file imports it as the interpreter starts. The wheel's
compiled half does not load there, so two operators that its Python half describes at import do not exist: they are
declared, without an implementation, just before torchvision is imported. PyTorch itself is imported no earlier.
"""

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence

DECLARATIONS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Finds no module; declares the operators when torchvision is first asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)
            import torch

            for declaration in DECLARATIONS:
                torch.library.define(
                    f"torchvision::{declaration.partition('(')[0]}", declaration[declaration.index("(") :]
                )
        return None


sys.meta_path.insert(0, _BeforeTorchvision())
