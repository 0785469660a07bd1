from typing import Any

import pytest

from caslie_tools.data.records import BadRecord, Record, read_record
from caslie_tools.exceptions import InstanceError
from caslie_tools.tasks.layouts import Layout, render
from caslie_tools.tuning.examples import IGNORED, fused_record, make_example, make_examples, sample_examples
from tests.backends.transformers.tiny_models import BOS, EOS
from tests.tuning.model.records import substitute

CAPTION = "product information extracted from image"


def text_with_loss(tokenizer: Any, example: Any) -> str:
    tokens = [token for token, label in zip(example.tokens, example.labels, strict=True) if label >= 0]
    return str(tokenizer.decode(tokens))


@pytest.mark.parametrize("layout", ["alpaca", "mistral", "llama-2", "llama-3"])
@pytest.mark.parametrize("wire", ["corrected", "paper"])
def test_the_loss_is_only_on_the_answer_and_eos(tokenizer: Any, layout: Layout, wire: Any) -> None:
    record = read_record(0, substitute(1, instruction="Can it stand in?"))
    example = make_example(record, tokenizer, layout=layout, wire=wire)
    prompt = render(fused_record(record, wire=wire), layout)
    assert tokenizer.decode(example.tokens) == f"{BOS}{prompt}yes{EOS}"
    assert text_with_loss(tokenizer, example) == f"yes{EOS}"
    assert example.labels[: example.prompt_length] == (IGNORED,) * example.prompt_length
    assert list(example.prompt) == tokenizer(prompt)["input_ids"]  # the tokens that a server makes of the prompt
    assert example.tokens.count(tokenizer.bos_token_id) == 1


def test_an_open_answer_is_not_shortened(tokenizer: Any) -> None:
    asked = {"question": "How big?", "products": [{"id": "p1", "title": "Mug"}]}
    record = read_record(
        0, {"task": "product_qa", "split": "train", "input": asked, "output": "750 ml, says its label."}
    )
    example = make_example(record, tokenizer)
    assert text_with_loss(tokenizer, example) == f"750 ml, says its label.{EOS}"
    assert example.choices == ()


def test_no_token_spans_the_prompt_and_the_answer(tokenizer: Any) -> None:
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
def test_captions_are_fused_by_the_votes_or_by_the_setting(votes: Any, captions: Any, fused: bool) -> None:
    record = read_record(0, substitute(1, votes=votes))
    instance = fused_record(record, captions=captions)
    assert (CAPTION in instance.input) is fused


def test_captions_without_votes_do_not_count_as_kept() -> None:
    with pytest.raises(InstanceError, match="captions without votes"):
        fused_record(read_record(0, substitute(1, votes=None)))
    bare = substitute(1, votes=None, caption_info=None)
    assert CAPTION not in fused_record(read_record(0, bare)).input


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ([True, True], "2 votes for 1 images"),
        (["perhaps"], "votes has the element 'perhaps'"),
        ([1], "votes has the element 1"),
    ],
)
def test_invalid_votes_make_a_bad_record(votes: Any, message: str) -> None:
    with pytest.raises(InstanceError, match=message):
        read_record(0, substitute(1, votes=votes))


def test_unusable_records_are_reported_by_index_and_the_others_are_used(tokenizer: Any) -> None:
    long = substitute(3, input={"query": "mug " * 400, "product title": "mug"})
    with_bos = substitute(5, instruction=f"Say yes. {BOS} Say no.")
    ending = {"task": "pqa", "split": "train", "input": {"question": "?", "products": []}, "output": f"a{EOS}b"}
    records: list[Record | BadRecord] = [
        read_record(0, substitute(1)),
        BadRecord(index=1, reason="the record is not a JSON object"),
        read_record(2, long),
        read_record(3, with_bos),
        read_record(4, ending),
        read_record(5, substitute(7, votes=None)),
        read_record(6, substitute(9, "validation")),
    ]
    made = make_examples(records, tokenizer, validation=("validation",), max_length=512)
    assert [example.index for example in made.train] == [0, 3]  # a mark in an instruction is read as text
    assert [example.index for example in made.validation] == [6]
    reasons = {bad.index: bad.reason for bad in made.left_out}
    assert list(reasons) == [1, 2, 4, 5]
    assert "tokens with its answer, the maximum is 512" in reasons[2]
    assert all(example.tokens.count(tokenizer.bos_token_id) == 1 for example in made.train)
    assert EOS in reasons[4]


def test_an_example_of_the_maximum_length_is_used(tokenizer: Any) -> None:
    record = read_record(0, substitute(1))
    length = len(make_example(record, tokenizer).tokens)
    assert len(make_example(record, tokenizer, max_length=length).tokens) == length
    with pytest.raises(InstanceError, match=f"has {length} tokens"):
        make_example(record, tokenizer, max_length=length - 1)


def test_special_tokens_in_a_product_text_are_read_as_text(tokenizer: Any) -> None:
    injected = substitute(1, input={"query": f"<|im_end|>{BOS}", "product title": "mug"})
    example = make_example(read_record(0, injected), tokenizer)
    assert example.tokens.count(tokenizer.bos_token_id) == 1


def test_a_seed_always_draws_the_same_examples(tokenizer: Any) -> None:
    made = make_examples([read_record(n, substitute(n)) for n in range(20)], tokenizer).train
    drawn = [[example.index for example in sample_examples(made, 5, seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(set(drawn[0]))
    assert sample_examples(made, 20, 1) == made
    assert sample_examples(made, 0, 1) == []
