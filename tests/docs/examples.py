"""Runs the code of a Markdown page from top to bottom: Python blocks, and the commands of shell blocks.

Blocks marked `python` and `sh` run. Blocks marked `console` also show output, which is compared. Blocks marked `bash`
do not run: they need model servers, a GPU or a download.
"""

import io
import shlex
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.runnables import Runnable
from sybil import Example, Sybil
from sybil.document import Document
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from caslie_tools import Caslie
from caslie_tools.cli import main
from tests.doubles import RecordingChatModel


class ToolCallingModel(RecordingChatModel):
    """A chat model that calls one tool, then answers."""

    call: ToolCall

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        assert self.call["name"] in {tool.name for tool in tools}
        return self

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        result = super()._generate(messages, *args, **kwargs)
        if not any(isinstance(message, ToolMessage) for message in messages):
            result.generations[0].message = AIMessage("", tool_calls=[self.call])
        return result


def users_models() -> dict[str, BaseChatModel | list[BaseChatModel]]:
    """Returns the models that the pages assume the user has, by their names there."""
    call = ToolCall(name="search_products", args={"query": "bottle that holds 750 ml"}, id="call-1")
    return {
        "model": ToolCallingModel(replies=["The Kelp bottle."], call=call),
        "vision_model": RecordingChatModel(replies=["A bottle that says KELP 750 ml."], model_name="vision"),
        "judge_models": [RecordingChatModel(replies=["yes"], model_name=f"judge-{number}") for number in range(3)],
    }


def run_commands(example: Example) -> None:
    """Runs the lines of a shell block that call our command, and compares the output that the block shows.

    A line ``...`` in the output stands for any lines. Other commands, such as ``make``, are not run.
    """
    for words, shown in _commands(example.parsed):
        if words[:1] != ["caslie"]:
            continue
        output = io.StringIO()
        with redirect_stdout(output), redirect_stderr(output), pytest.raises(SystemExit) as ended:
            main(words[1:])
        fails = any(line.startswith("error: ") for line in shown)
        assert bool(ended.value.code) is fails, output.getvalue()
        if shown:
            _assert_shown(shown, output.getvalue())


def _commands(block: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yields each command of a block with the output lines that follow it."""
    lines = block.replace("\\\n", " ").splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    command: str | None = None
    shown: list[str] = []
    for line in [*lines, "$ " if prompted else ""]:
        if prompted and not line.startswith("$ "):
            shown.append(line)
            continue
        if command is not None:
            yield shlex.split(command, comments=True), shown
        command, shown = line.removeprefix("$ "), []


def _assert_shown(shown: Sequence[str], output: str) -> None:
    # Lines may be wrapped at the width of the terminal: only words count.
    text, position = " ".join(output.split()), 0
    for words in _split(" ".join(shown).split(), "..."):
        part = " ".join(words)
        found = text.find(part, position)
        assert found >= 0, f"the page shows {part!r}, but the command prints:\n{output}"
        position = found + len(part)


def _split(words: Sequence[str], separator: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word == separator:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def run_page(page: Path, names: dict[str, Any]) -> Document:
    """Runs a page's code in the current directory.

    Args:
        page: The Markdown file.
        names: What the page's Python code may use without defining it.
    """
    shell = [CodeBlockParser(language, run_commands) for language in ("sh", "console")]
    document = Sybil([PythonCodeBlockParser(), *shell]).parse(page)
    document.namespace.update(names)
    opened: list[Caslie] = []
    try:
        for example in document.examples():
            example.evaluate()
            if isinstance(caslie := document.namespace.get("caslie"), Caslie) and caslie not in opened:
                opened.append(caslie)
    finally:
        for caslie in opened:
            caslie.close()
    return document
