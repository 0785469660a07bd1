import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from caslie_tools.backends.embedded.packaged_models import require, verified_file
from caslie_tools.exceptions import MissingExtraError, ModelError
from tests.paths import ROOT
from tests.time_limits import HANG_SECONDS


def test_a_changed_or_missing_model_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"other weights")

    with pytest.raises(ModelError, match=r"model\.safetensors is not the published one"):
        verified_file(file, "0" * 64)
    with pytest.raises(ModelError, match="cannot be read"):
        verified_file(tmp_path / "missing.pth", "0" * 64)


def test_the_error_for_a_missing_package_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"Classifying needs .*caslie-tools\[embedded\]"):
        require("no_such_package_of_ours", "Classifying")


def test_importing_loads_no_large_package_and_using_prints_nothing() -> None:
    script = textwrap.dedent(
        """
        import sys
        from caslie_tools.profiles.embedded import embedded_profile
        from tests.backends.embedded.images import label
        profile = embedded_profile()
        heavy = {"torch", "transformers", "rapidocr", "onnxruntime"} & set(sys.modules)
        assert not heavy, heavy
        from caslie_tools.backends.embedded import ImageAnalyser, TextReader
        profile.embeddings.embed_query("a lamp")
        assert "torch" not in sys.modules
        analysis = ImageAnalyser(profile.image_embeddings, TextReader()).analyse(label("IP67 LAMP"))
        assert analysis.text, analysis
        assert ImageAnalyser(profile.image_embeddings, TextReader()).analyse(label()).text == ()
        """
    )
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True, text=True, timeout=HANG_SECONDS, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip

    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
