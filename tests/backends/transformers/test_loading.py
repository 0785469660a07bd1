"""Models that cannot be loaded, and files that must not be loaded or run."""

import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.backends.transformers.loading import load_encoder, load_language_model
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.exceptions import ModelError
from tests.paths import ROOT

TOKEN = "hf_never_to_be_seen"


def load(model: object, **settings: Any) -> None:
    load_language_model(TransformersSettings(model=str(model), **{"device": "cpu"} | settings))


class Trap:
    """Creates a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.trace),))


class TestFolder:
    @pytest.mark.parametrize("name", ["/no/such/folder", "./none", "~/none-of-ours", "a/b/c"])
    def test_a_missing_folder_is_named(self, name: str) -> None:
        with pytest.raises(ModelError, match=f"the model {name} cannot be loaded: there is no such folder"):
            load(name)

    def test_pickled_weights_are_refused_and_not_opened(self, copied: Callable[[str], Path], tmp_path: Path) -> None:
        folder = copied("text")
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "trace")))
        with pytest.raises(ModelError, match=r"tokenizer\.json and \*\.safetensors, not \*\.bin"):
            load(folder)
        assert not (tmp_path / "trace").exists()

    def test_code_that_comes_with_a_model_is_never_run(self, copied: Callable[[str], Path], tmp_path: Path) -> None:
        folder = copied("text")
        (folder / "own.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'trace')!r})\nclass Own: pass\n")
        config = json.loads((folder / "config.json").read_text())
        config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match="this version of transformers does not support it"):
            load(folder)
        assert not (tmp_path / "trace").exists()

    @pytest.mark.parametrize("content", ["", "{", '{"model_type": "no_such_kind"}', "[]"])
    def test_a_broken_config_is_a_model_error(self, copied: Callable[[str], Path], content: str) -> None:
        folder = copied("text")
        (folder / "config.json").write_text(content)
        with pytest.raises(ModelError, match=f"the model {folder} cannot be loaded: .*; .*"):
            load(folder)

    def test_broken_weights_are_a_model_error(self, copied: Callable[[str], Path]) -> None:
        folder = copied("text")
        (folder / "model.safetensors").write_bytes(b"{}")
        with pytest.raises(ModelError, match=f"the model {folder} cannot be loaded: its files are unusable"):
            load(folder)

    def test_missing_weights_are_not_initialised_at_random(self, copied: Callable[[str], Path]) -> None:
        from safetensors.torch import load_file, save_file

        folder = copied("vision")
        weights = folder / "model.safetensors"
        found = load_file(weights)
        other = {name.replace("vision_model", "renamed"): tensor for name, tensor in found.items()}
        save_file(other, weights, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=r"\d+ of its weights are missing in its files, such as model\."):
            load(folder)

    def test_an_unused_pooler_may_be_missing(self, tiny: Path) -> None:
        assert load_encoder(TransformersSettings(model=str(tiny / "encoder"), device="cpu")).processor is None

    def test_a_missing_device_is_named(self, tiny: Path) -> None:
        with pytest.raises(ModelError, match="torch finds no cuda:99 on this machine; set its device to auto"):
            load(tiny / "text", device="cuda:99")

    @pytest.mark.parametrize(("dtype", "expected"), [("auto", "float32"), ("bfloat16", "bfloat16")])
    def test_weights_have_the_dtype_of_the_settings(self, tiny: Path, dtype: Any, expected: str) -> None:
        loaded = load_language_model(TransformersSettings(model=str(tiny / "text"), device="cpu", dtype=dtype))
        assert str(loaded.model.dtype) == f"torch.{expected}"
        assert not loaded.model.training


class TestHub:
    def test_an_unreachable_hub_is_a_model_error_without_the_token(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        with pytest.raises(ModelError, match=r"some/vlm@v1 cannot be downloaded from the hub: .*; ") as error:
            load("some/vlm", revision="v1")
        assert "or set the path of a folder that has it" in str(error.value)
        assert TOKEN not in f"{error.value!r} {error.value.__cause__!r}"

    @pytest.mark.parametrize("name", ["some thing", "-", "a" * 200, "some/..", "some/vlm\n"])
    def test_an_invalid_name_is_refused(self, name: str) -> None:
        with pytest.raises(ModelError, match="there is no such model, or you may not read it"):
            load_language_model(
                TransformersSettings.model_construct(model=name, revision=None, device="cpu", dtype="auto")
            )


def test_loading_prints_nothing(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    records: list[logging.LogRecord] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Recorder()
    logging.getLogger("transformers").addHandler(handler)  # it does not propagate its records
    try:
        load(tiny / "vision")
        load_encoder(TransformersSettings(model=str(tiny / "encoder"), device="cpu"))
    finally:
        logging.getLogger("transformers").removeHandler(handler)
    assert records == []
    assert capfd.readouterr() == ("", "")


def test_building_a_role_imports_no_heavy_package() -> None:
    script = textwrap.dedent(
        """
        import sys
        from caslie_tools.profiles.toml import load_profile_settings
        from caslie_tools.backends.transformers.settings import TransformersEmbeddingsSettings
        from caslie_tools.backends.transformers.embeddings import TransformersEmbeddings
        from caslie_tools.profiles.building import build_predictor
        build_predictor(load_profile_settings("local-hf").predictor)
        TransformersEmbeddings(TransformersEmbeddingsSettings(model="some/encoder"))
        heavy = {"torch", "transformers", "huggingface_hub"} & set(sys.modules)
        assert not heavy, heavy
        """
    )
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_a_missing_extra_is_named(tiny: Path) -> None:
    # A process in which torch cannot be found, as on a machine without it.
    script = textwrap.dedent(
        """
        import importlib.abc, sys
        class Absent(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name.partition(".")[0] == "torch":
                    raise ModuleNotFoundError(name=name)
        sys.meta_path.insert(0, Absent())
        """
    )
    finished = subprocess.run(
        [sys.executable, "-c", script + _USE, tiny / "text"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert "caslie-tools[transformers]" in finished.stdout, finished.stderr


_USE = """
from caslie_tools.exceptions import MissingExtraError
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.backends.transformers.loading import load_language_model
try:
    load_language_model(TransformersSettings(model=sys.argv[1]))
except MissingExtraError as error:
    print(error)
"""
