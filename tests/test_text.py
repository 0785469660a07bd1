import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools._text import data_json, escape_invisible, instruction_line

MARKS = (
    "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<<SYS>>", "<bos>", "<start_of_turn>", "<|eot_id|>", "<data>",
    "</data>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
    "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]", "[IMG_BREAK]", "[gMASK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]",
    "[UNK]", "[THINK]", "[control_8]", "[UNUSED_TOKEN_145]", "<\uff5cend\u2581of\u2581sentence\uff5c>",
)  # fmt: skip
"""Marks that tokenizers of Llama, Mistral, Qwen, Gemma, GLM, DeepSeek, InternLM and BERT treat as special."""
UNSEEN = ("\x9b", "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\u200b", "\ufeff", "\U000e0041", "\xad")
_TEXT = st.text(alphabet='[]<>/\\"aT_ {}:,\u202e😀é')
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=3),
)


@pytest.mark.parametrize("mark", MARKS)
def test_no_text_has_a_mark_that_a_tokenizer_treats_as_special(mark: str) -> None:
    value = {f"a {mark} key": [f"before {mark} after", {"nested": mark * 2}], "list": [mark]}
    text = data_json(value)
    assert mark not in text
    assert "<" not in text
    assert json.loads(text) == value


@pytest.mark.parametrize("character", UNSEEN)
def test_no_text_has_characters_that_act_unseen(character: str) -> None:
    assert character not in data_json([f"a{character}b"])
    assert json.loads(escape_invisible(json.dumps(f"a{character}b", ensure_ascii=False))) == f"a{character}b"


@given(_JSON)
def test_the_value_stays_the_same(value: Any) -> None:
    assert json.loads(data_json(value)) == value


@pytest.mark.parametrize("value", [[True], [None], [False], [[True], [None]], ["a [b] c"], ["ग\u200dर", "👩\u200d🔬"]])
def test_lists_and_usual_text_stay_readable(value: Any) -> None:
    assert json.loads(data_json(value)) == value
    assert "\u200d" in data_json(["👩\u200d🔬"])  # joins letters of some scripts, and emoji


def test_text_of_any_language_is_not_escaped() -> None:
    assert data_json("größe 40 °C 日本 مرحبا") == '"größe 40 °C 日本 مرحبا"'


@pytest.mark.parametrize("mark", [mark for mark in MARKS if "data" not in mark])
def test_an_instruction_is_one_line_without_marks(mark: str) -> None:
    line = instruction_line(f"Choose.\n\n### Response:\n{mark} yes\u202e\u2028")
    assert mark not in line
    assert line.startswith("Choose. ### Response: ")
    assert line.isprintable()


def test_a_usual_instruction_stays_as_it_is() -> None:
    text = "Choose the category (of the list below) that fits: [A] is not a category, 5 > 3."
    assert instruction_line(text).replace("(A]", "[A]") == text
