import json
from pathlib import Path

import pytest

from caslie_tools.exceptions import SettingsError
from caslie_tools.serving.model_sizes import find_model_size
from tests.serving.profiles import write_model


def test_the_size_of_mistral_is_exact() -> None:
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14_336 + 2 * 4096
    assert find_model_size("NingLab/CASLIE-M").weight_bytes == 2 * (2 * 32_768 * 4096 + 32 * layer + 4096)


def test_the_size_of_a_model_in_a_folder_is_read_from_its_files(tmp_path: Path) -> None:
    config = write_model(tmp_path, layers=3, heads=4, hidden_size=32)
    (tmp_path / "model.safetensors").write_bytes(b"x" * 700)
    (tmp_path / "more.safetensors").write_bytes(b"x" * 300)
    size = find_model_size(str(tmp_path))
    assert (size.weight_bytes, size.cache_bytes_per_token, size.accepts_images) == (1000, 2 * 3 * 4 * 8 * 2, False)
    (tmp_path / "config.json").write_text(json.dumps({"text_config": config, "vision_config": {}}))
    assert find_model_size(str(tmp_path)).accepts_images


@pytest.mark.parametrize("config", ["{", "[]", "{}", '{"num_attention_heads": 0}', '{"text_config": 3}'])
def test_a_folder_with_an_unusable_configuration_is_refused(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(SettingsError, match=r"its config\.json cannot be used"):
        find_model_size(str(tmp_path))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(SettingsError, match=r"the folder has no \*\.safetensors file"):
        find_model_size(str(tmp_path))


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(SettingsError, match="the size of the model 'acme/huge' is unknown; download the model"):
        find_model_size("acme/huge")
