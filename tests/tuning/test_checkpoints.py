"""The folder of a tuning run, without any of the libraries that tune."""

import json
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.exceptions import InputError, SettingsError
from caslie_tools.tuning.checkpoints import CHECKPOINTS_FOLDER, RECIPE_FILE, newest_checkpoint, prepare_run
from caslie_tools.tuning.settings import TuningSettings


def settings_of(folder: Path, **changed: Any) -> TuningSettings:
    return TuningSettings(**{"base": "base", "data": "data.jsonl", "out": folder / "out"} | changed)


def write_checkpoint(folder: Path, step: int, state: str = "{}") -> Path:
    checkpoint = folder / CHECKPOINTS_FOLDER / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text(state)
    return checkpoint


def test_a_new_run_writes_its_recipe(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, rank=4)
    assert prepare_run(settings, data="hash", processes=2, resume=False) is None
    recipe = json.loads((settings.out / RECIPE_FILE).read_text())
    assert (recipe["rank"], recipe["data"], recipe["processes"]) == (4, "hash", 2)


def test_a_run_is_resumed_from_its_newest_checkpoint(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    prepare_run(settings, data="hash", processes=1, resume=True)
    assert prepare_run(settings, data="hash", processes=1, resume=True) is None  # it has no checkpoint yet
    newest = [write_checkpoint(settings.out, step) for step in (9, 10)][-1]
    moved = settings_of(tmp_path, data="elsewhere.jsonl", save_steps=1, score_instances=0, merge=True)
    assert prepare_run(moved, data="hash", processes=1, resume=True) == newest


def test_incomplete_checkpoints_are_ignored(tmp_path: Path) -> None:
    complete = write_checkpoint(tmp_path, 4)
    write_checkpoint(tmp_path, 8, '{"global_step": 8, "log_hi')
    write_checkpoint(tmp_path, 12, "[]")
    assert newest_checkpoint(tmp_path / CHECKPOINTS_FOLDER) == complete
    assert newest_checkpoint(tmp_path / "nowhere") is None


def test_a_folder_that_is_not_empty_is_used_only_to_resume(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    prepare_run(settings, data="hash", processes=1, resume=False)
    with pytest.raises(InputError, match="the folder is not empty; resume the run in it, or choose another folder"):
        prepare_run(settings, data="hash", processes=1, resume=False)


@pytest.mark.parametrize(
    ("rank", "data", "processes", "message"),
    [
        (2, "hash", 1, r"started with another rank \(16, now 2\); restore it to resume the run"),
        (16, "other", 1, "started with another data; restore it"),
        (16, "hash", 3, r"started with another processes \(1, now 3\)"),
    ],
)
def test_another_recipe_is_refused(tmp_path: Path, rank: int, data: str, processes: int, message: str) -> None:
    prepare_run(settings_of(tmp_path, rank=16), data="hash", processes=1, resume=False)
    with pytest.raises(SettingsError, match=message):
        prepare_run(settings_of(tmp_path, rank=rank), data=data, processes=processes, resume=True)


def test_checkpoints_without_a_readable_recipe_are_refused(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    write_checkpoint(settings.out, 4)
    (settings.out / RECIPE_FILE).write_text("{")
    with pytest.raises(InputError, match="the recipe of the run cannot be read"):
        prepare_run(settings, data="hash", processes=1, resume=True)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="out: cannot be written to"):
        prepare_run(settings_of(tmp_path), data="hash", processes=1, resume=False)
