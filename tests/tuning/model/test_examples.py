from typing import Any

import pytest

from caslie_tools.data.records import BadRecord, read_record
from caslie_tools.exceptions import InstanceError
from caslie_tools.tasks.layouts import Layout, render
from caslie_tools.tuning.examples import IGNORED, draw, fused_record, make_example, make_examples
from tests.backends.transformers.tiny_models import BOS, EOS
from tests.tuning.model.conftest import substitute

CAPTION = "product information extracted from image"


def trained_on(tokenizer: Any, example: Any) -> str:
    return tokenizer.decode([token for token, label in zip(example.tokens, example.labels, strict=True) if label >= 0])


@pytest.mark.parametrize("layout", ["alpaca", "mistral", "llama-2", "llama-3"])
@pytest.mark.parametrize("wire", ["corrected", "paper"])
def test_the_loss_is_on_the_answer_and_eos_and_on_nothing_else(tokenizer: Any, layout: Layout, wire: Any) -> None:
    record = read_record(0, substitute(1))
    example = make_example(record, tokenizer, layout=layout, wire=wire)
    prompt = render(fused_record(record, wire=wire), layout, wire=wire)
    assert tokenizer.decode(example.tokens) == f"{BOS}{prompt}yes{EOS}"
    assert trained_on(tokenizer, example) == f"yes{EOS}"
    assert example.labels[: example.prompt_length] == (IGNORED,) * example.prompt_length
    assert list(example.prompt) == tokenizer(prompt)["input_ids"]  # what a server makes of the same prompt
    assert example.tokens.count(tokenizer.bos_token_id) == 1


def test_an_open_answer_is_trained_on_whole(tokenizer: Any) -> None:
    asked = {"question": "How big?", "products": [{"id": "p1", "title": "Mug"}]}
    record = read_record(
        0, {"task": "product_qa", "split": "train", "input": asked, "output": "750 ml, says its label."}
    )
    example = make_example(record, tokenizer)
    assert trained_on(tokenizer, example) == f"750 ml, says its label.{EOS}"
    assert example.choices == ()


def test_an_answer_follows_its_prompt_also_where_tokens_would_reach_over_the_border(tokenizer: Any) -> None:
    merging = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, bos_token=BOS, eos_token=EOS)
    merging.add_tokens(["\nyes"])  # one token for the end of the prompt and the whole answer
    example = make_example(read_record(0, substitute(1)), merging)
    prompt = render(fused_record(read_record(0, substitute(1))))
    assert list(example.prompt) == merging(prompt)["input_ids"]
    assert merging.decode(example.tokens[example.prompt_length :]) == f"yes{EOS}"


@pytest.mark.parametrize(
    ("votes", "captions", "fused"),
    [
        ([True], "kept", True),
        ([False], "kept", False),
        ([None], "kept", False),
        (["yes"], "kept", True),
        ('["no"]', "kept", False),
        ([False], "all", True),
        (None, "all", True),
        ([True], "none", False),
        (None, "none", False),
    ],
)
def test_captions_are_fused_as_the_jury_or_the_user_says(votes: Any, captions: Any, fused: bool) -> None:
    record = read_record(0, substitute(1, votes=votes))
    instance = fused_record(record, captions=captions)
    assert (CAPTION in instance.input) is fused


def test_captions_nobody_voted_on_are_not_taken_for_kept_ones() -> None:
    with pytest.raises(InstanceError, match="nobody voted"):
        fused_record(read_record(0, substitute(1, votes=None)))
    bare = substitute(1, votes=None, caption_info=None)
    assert CAPTION not in fused_record(read_record(0, bare)).input


@pytest.mark.parametrize(
    ("votes", "says"),
    [([True, True], "2 votes for 1 images"), (["perhaps"], "votes holds 'perhaps'"), ([1], "votes holds 1")],
)
def test_votes_that_do_not_fit_make_a_bad_record(votes: Any, says: str) -> None:
    with pytest.raises(InstanceError, match=says):
        read_record(0, substitute(1, votes=votes))


def test_what_cannot_be_used_is_told_of_by_index_and_the_rest_goes_on(tokenizer: Any) -> None:
    long = substitute(3, input={"query": "mug " * 400, "product title": "mug"})
    marked = substitute(5, instruction=f"Say yes. {BOS} Say no.")
    ending = {"task": "pqa", "split": "train", "input": {"question": "?", "products": []}, "output": f"a{EOS}b"}
    records = [
        read_record(0, substitute(1)),
        BadRecord(index=1, reason="it is not an object"),
        read_record(2, long),
        read_record(3, marked),
        read_record(4, ending),
        read_record(5, substitute(7, votes=None)),
        read_record(6, substitute(9, "validation")),
    ]
    made = make_examples(records, tokenizer, validation=("validation",), max_length=512)
    assert [example.index for example in made.train] == [0]
    assert [example.index for example in made.validation] == [6]
    reasons = {bad.index: bad.reason for bad in made.left_out}
    assert list(reasons) == [1, 2, 3, 4, 5]
    assert "tokens, its answer included, of at most 512" in reasons[2]
    assert BOS in reasons[3]
    assert EOS in reasons[4]


def test_an_example_of_just_the_longest_length_is_used_whole(tokenizer: Any) -> None:
    record = read_record(0, substitute(1))
    length = len(make_example(record, tokenizer).tokens)
    assert len(make_example(record, tokenizer, max_length=length).tokens) == length
    with pytest.raises(InstanceError, match=f"takes {length} tokens"):
        make_example(record, tokenizer, max_length=length - 1)


def test_marks_in_a_product_text_stay_text(tokenizer: Any) -> None:
    injected = substitute(1, input={"query": f"<|im_end|>{BOS}", "product title": "mug"})
    example = make_example(read_record(0, injected), tokenizer)
    assert example.tokens.count(tokenizer.bos_token_id) == 1


def test_some_are_drawn_the_same_for_a_seed(tokenizer: Any) -> None:
    made = make_examples([read_record(n, substitute(n)) for n in range(20)], tokenizer).train
    drawn = [[example.index for example in draw(made, 5, seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(set(drawn[0]))
    assert draw(made, 20, 1) == made
    assert draw(made, 0, 1) == []
