"""Text from a catalogue or a model is printed, but it cannot control the terminal."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from caslie_tools.cli.console import plain
from tests.cli.commands import Command, assert_error, finish, start
from tests.doubles import draw_picture
from tests.paths import ROOT
from tests.shop import Shop

HOSTILE = (
    "\x1b]0;owned\x07\x1b[31mred\x1b[0m [bold]bold[/bold] [/red] :smile: \u202egnol\u202c\x9b2J\r\x00\x08 [link=x]"
)
"""Sets the title and colours of a terminal, clears it, moves the cursor, reverses text, and contains Rich markup."""

CONTROL_CHARACTERS = ("\x1b", "\x07", "\x08", "\x9b", "\r", "\u202e", "\x00")


@pytest.fixture
def hostile(tmp_path: Path, caslie: Command) -> Path:
    """A catalogue with control characters in every field, indexed."""
    shop = Shop(tmp_path)
    name = "\x1b[31m[red]x.png"
    (tmp_path / name).write_bytes(draw_picture(f"LABEL {HOSTILE}"))
    shop.put(f"id {HOSTILE}".replace("\r", ""), name, f"gone{HOSTILE}.png".replace("|", ""), title=f"Mug {HOSTILE}")
    assert caslie("index", shop.path).code == 1  # one of the images is missing
    return shop.path


def test_no_command_prints_control_characters(caslie: Command, hostile: Path) -> None:
    picture = "\x1b[31m[red]x.png"
    for arguments in (
        ("index", hostile, "--progress", "lines"),
        ("search", "mug"),
        ("ask", "Which label has the mug?"),
        ("ask", f"Which label? {HOSTILE}".replace("\x00", ""), "--image", picture),
        ("captions",),
        ("captions", "--product", f"none {HOSTILE}"),
        ("search", "x", "--where", f"price < '{HOSTILE}"),
        ("info", "--profile", HOSTILE),
    ):
        result = caslie(*arguments)
        for character in CONTROL_CHARACTERS:
            assert character not in result.out, arguments
            assert character not in result.err, arguments


def test_markup_is_printed_verbatim(caslie: Command, hostile: Path) -> None:
    shown = "".join(caslie("search", "mug").out.split())
    assert "[bold]bold[/bold]" in shown
    assert ":smile:" in shown


def test_json_keeps_the_text_unchanged(caslie: Command, hostile: Path) -> None:
    (hit,) = caslie("search", "mug", "--json").document["products"]
    assert hit["product"]["title"] == f"Mug {HOSTILE}".replace("\x00", "").strip()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", "two\nlines"),
        ("a\u00a0b\tc\rd\u2028e", "a b c d e"),
        ("\x1b[0m", "\ufffd\\[0m"),
        ("[red]", r"\[red]"),
        ("half \udcff", "half \ufffd"),
        ("größe 40 °C 日本", "größe 40 °C 日本"),
    ],
)
def test_plain_removes_control_characters_and_escapes_markup(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_terminal_without_unicode_gets_escaped_text(caslie: Command, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.put("cup", title="Tasse für 日本")
    assert caslie("index", shop.path).code == 0
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    shown = finish(start("search", "Tasse", environment=ascii_only))
    assert shown.code == 0
    assert "Tasse f" in shown.out
    document = finish(start("search", "Tasse", "--json", environment=ascii_only)).document
    assert document["products"][0]["product"]["title"] == "Tasse für 日本"


def test_a_file_name_that_is_not_valid_text(tmp_path: Path, caslie: Command) -> None:
    shop = Shop(tmp_path)
    shop.put("cup")
    assert caslie("index", shop.path).code == 0
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    assert_error(finish(start("search", "--image", name)), code=2, contains=["does not exist"])
    result = finish(start("search", "--image", name, "--json"))
    assert json.loads(result.out)["error"]["type"] == "ImageError"


MARKUP = (
    "[/a",
    "[blink on red",
    "[bold]x[/bold]",
    "\\[bold]",
    "\\\\[bold]",
    "a\\",
    "\\\\\\",
    "[",
    "[[x]]",
    "[/]",
    "[@click=x]",
)
"""Texts that look like markup of Rich, alone or with what follows them."""


@pytest.mark.parametrize("text", MARKUP)
@pytest.mark.parametrize("template", ["[bold]{}[/bold] end", "{}[red]{}[/red]", "{}", "[yellow]{}[/yellow]: {} x"])
def test_no_text_becomes_markup_wherever_it_stands(text: str, template: str) -> None:
    shown = Text.from_markup(template.replace("{}", plain(text)), emoji=False)
    without_styles = re.sub(r"\[/?(?:bold|red|yellow)\]", "", template)
    expected = without_styles.replace("{}", text)
    # Backslashes before a bracket may be doubled, which changes nothing else.
    assert re.sub(r"\\+", "", shown.plain) == re.sub(r"\\+", "", expected)
    assert len(shown.spans) == template.count("[/")


@given(st.text(alphabet="[]/\\ab@# =\u202e\x1b", max_size=12), st.text(alphabet="[]/\\a", max_size=6))
def test_any_text_is_shown_and_does_not_style_what_follows(first: str, second: str) -> None:
    shown = Text.from_markup(f"[bold]{plain(first)}[/bold] - {plain(second)}", emoji=False)
    (span,) = shown.spans
    assert shown.plain[span.end :].startswith(" - ")
    assert "\x1b" not in shown.plain
    assert "\u202e" not in shown.plain


@pytest.mark.parametrize("character", ["\x9b", "\u202e", "\u2028", "\x7f", "\u2066", "\U000e0041", "\ufeff"])
def test_json_escapes_what_a_terminal_would_obey(caslie: Command, shop: Path, character: str) -> None:
    with shop.open("a", encoding="utf-8") as file:
        file.write(f"odd,Odd {character} title,Home,12,,\n")
    caslie("index", shop)
    result = caslie("search", "Odd title", "--json")
    assert character not in result.out
    assert any(character in hit["product"]["title"] for hit in result.document["products"])
    assert character not in caslie("search", "Odd title").out


def test_a_closed_standard_output_and_error_are_no_error_of_ours(shop: Path) -> None:
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        command = f"{shlex.quote(sys.executable)} -m caslie_tools.cli search jacket {closed}"
        ended = subprocess.run(
            ["/bin/sh", "-c", command],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in ended.stderr
        assert ended.returncode == 0


@pytest.mark.usefixtures("shop")
class TestStrangeFiles:
    def test_an_empty_name_of_a_store_is_not_the_current_folder(
        self, caslie: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        result = caslie("search", "jacket", "--store", "")
        assert result.code == 2
        assert "the name of the folder is empty" in result.err
        monkeypatch.setenv("CASLIE_STORE", "")
        assert "the name of the folder is empty" in caslie("search", "jacket").err

    def test_a_device_and_a_pipe_are_no_catalogue(self, caslie: Command, tmp_path: Path) -> None:
        (tmp_path / "zero.csv").symlink_to("/dev/zero")
        os.mkfifo(tmp_path / "pipe.csv")
        for name in ("zero.csv", "pipe.csv"):
            assert_error(caslie("index", tmp_path / name), code=2, contains=[f"{name}: not a regular file"])


def test_at_80_columns_cells_fold_and_no_id_is_cut(
    caslie: Command, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = f"SKU-{'0123456789' * 9}"
    with shop.open("a", encoding="utf-8") as file:
        file.write(f"{name},{'Quilted waterproof winter jacket ' * 4},Clothing,12,,jacket-1.png\n")
    caslie("index", shop)
    for arguments in (
        ("search", "quilted winter jacket"),
        ("ask", "Is it waterproof?", "--product", name, "--explain"),
        ("captions", "--product", name),
    ):
        result = caslie(*arguments)
        assert result.code == 0
        table = [line for line in result.out.splitlines() if line[:1] in "┏┃┡│└"]
        assert table
        assert max(map(len, table)) <= 80
        assert "…" not in "".join(table)
        columns = zip(*(line.split("│")[1:-1] for line in table if line.startswith("│")), strict=True)
        assert any(name in "".join("".join(column).split()) for column in columns), arguments


def test_a_plan_explains_itself_at_80_columns(caslie: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = caslie("endpoints", "plan", "caslie-s-24gb", "--gpu-memory", "24")
    explained = result.out[: result.out.index("VLLM_API_KEY")]
    assert max(map(len, explained.splitlines())) <= 80
    assert "on 1 x 22.5 GiB" in " ".join(explained.split())
    assert "…" not in explained
