"""What comes from a shop or a model is shown, and not obeyed."""

import json
from pathlib import Path

import pytest

from caslie_tools.cli.console import plain
from tests.cli.conftest import Command, finish, one_line, start
from tests.doubles import draw_picture
from tests.shop import Shop

HOSTILE = (
    "\x1b]0;owned\x07\x1b[31mred\x1b[0m [bold]bold[/bold] [/red] :smile: \u202egnol\u202c\x9b2J\r\x00\x08 [link=x]"
)
"""Sets a terminal's title, colours, clears, goes back, turns the reading direction, and speaks Rich's markup."""

OBEYED = ("\x1b", "\x07", "\x08", "\x9b", "\r", "\u202e", "\x00")


@pytest.fixture
def hostile(tmp_path: Path, caslie: Command) -> Path:
    """A catalogue that attacks whoever looks at it, indexed."""
    shop = Shop(tmp_path)
    name = "\x1b[31m[red]x.png"
    (tmp_path / name).write_bytes(draw_picture(f"LABEL {HOSTILE}"))
    shop.put(f"id {HOSTILE}".replace("\r", ""), name, f"gone{HOSTILE}.png".replace("|", ""), title=f"Mug {HOSTILE}")
    assert caslie("index", shop.path).code == 0
    return shop.path


def test_every_command_shows_it_harmlessly(caslie: Command, hostile: Path) -> None:
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
        ended = caslie(*arguments)
        for character in OBEYED:
            assert character not in ended.out, arguments
            assert character not in ended.err, arguments


def test_markup_is_shown_as_it_is(caslie: Command, hostile: Path) -> None:
    shown = "".join(caslie("search", "mug").out.split())
    assert "[bold]bold[/bold]" in shown
    assert ":smile:" in shown


def test_json_keeps_the_text_as_it_is(caslie: Command, hostile: Path) -> None:
    (hit,) = caslie("search", "mug", "--json").document["products"]
    assert hit["product"]["title"] == f"Mug {HOSTILE}".replace("\x00", "").strip()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", "two\nlines"),
        ("a\u00a0b\tc\rd\u2028e", "a b c d e"),
        ("\x1b[0m", "\ufffd[0m"),
        ("[red]", r"\[red]"),
        ("half \udcff", "half \ufffd"),
        ("größe 40 °C 日本", "größe 40 °C 日本"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_terminal_that_knows_few_characters(caslie: Command, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.put("cup", title="Tasse für 日本")
    assert caslie("index", shop.path).code == 0
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    shown = finish(start("search", "Tasse", environment=ascii_only))
    assert shown.code == 0
    assert "Tasse f" in shown.out
    document = finish(start("search", "Tasse", "--json", environment=ascii_only)).document
    assert document["products"][0]["product"]["title"] == "Tasse für 日本"


def test_a_file_name_that_is_no_text(tmp_path: Path, caslie: Command) -> None:
    shop = Shop(tmp_path)
    shop.put("cup")
    assert caslie("index", shop.path).code == 0
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    one_line(finish(start("search", "--image", name)), code=2, says=["does not exist"])
    ended = finish(start("search", "--image", name, "--json"))
    assert json.loads(ended.out)["error"]["type"] == "ImageError"
