"""The README's code runs as it stands there, from top to bottom, on the profile it speaks of.

Blocks marked `bash` are left out: they need model servers, and tests/vllm has them.
"""

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.runnables import Runnable
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from caslie_tools import Caslie
from caslie_tools.cli import main
from caslie_tools.sample import catalogue_path
from tests.doubles import RecordingChatModel
from tests.paths import ROOT

README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(not README.is_file(), reason="there is no README yet")


class ToolCallingModel(RecordingChatModel):
    """Calls one tool, then answers."""

    call: ToolCall

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        assert self.call["name"] in {tool.name for tool in tools}
        return self

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        result = super()._generate(messages, *args, **kwargs)
        if not any(isinstance(message, ToolMessage) for message in messages):
            result.generations[0].message = AIMessage("", tool_calls=[self.call])
        return result


@pytest.fixture
def shop(sample_demo: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the README takes for granted: a catalogue; and its store, already indexed, to save time."""
    for name in [name for name in os.environ if name.startswith("CASLIE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sample_demo[0], tmp_path / "shop")
    shutil.copy(catalogue_path(), tmp_path / "products.csv")
    shutil.copytree(catalogue_path().with_name("images"), tmp_path / "images")
    return tmp_path


def models() -> dict[str, BaseChatModel | list[BaseChatModel]]:
    """The models of the user's own that the README speaks of."""
    call = ToolCall(name="search_products", args={"query": "bottle that holds 750 ml"}, id="call-1")
    return {
        "model": ToolCallingModel(replies=["The Kelp bottle."], call=call),
        "vision_model": RecordingChatModel(replies=["A bottle that says KELP 750 ml."], model_name="vision"),
        "judges": [RecordingChatModel(replies=["yes"], model_name=f"judge-{number}") for number in range(3)],
    }


def run_commands(example: Example) -> None:
    """Runs the lines of a shell block that call our command; what ``make`` does, make itself shows."""
    block = example.parsed.replace("\\\n", " ")
    for line in block.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[:1] == ["caslie"]:
            with pytest.raises(SystemExit) as ended:
                main(words[1:])
            assert ended.value.code == 0, line


def test_its_code_runs(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = [CodeBlockParser(language, run_commands) for language in ("sh", "console")]
    document = Sybil([PythonCodeBlockParser(), *shell]).parse(README)
    names = document.namespace
    names.update(models(), my_tools=[])
    opened: list[Caslie] = []
    try:
        for example in document.examples():
            example.evaluate()
            if isinstance(caslie := names.get("caslie"), Caslie) and caslie not in opened:
                opened.append(caslie)
    finally:
        for caslie in opened:
            caslie.close()
    assert 'It reads "WATERPROOF IP67"' in capsys.readouterr().out
    (called,) = (message for message in names["answer"]["messages"] if isinstance(message, ToolMessage))
    assert called.status == "success"
    assert "kelp-bottle" in called.content
    assert len(opened) == 3  # in Python, in an agent, with models of one's own
