import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from caslie_tools.domain import (
    WITH_LOCATIONS,
    Caption,
    ImageRef,
    Prediction,
    Product,
    QueryContext,
    Vote,
    caption_key,
)

CONTEXT = QueryContext(task="product_qa", aim="answering", focus="Is it red?", known="Mug", question="Does it help?")


class TestImageRef:
    @pytest.mark.parametrize(
        "fields", [{}, {"path": "a.png", "data": b"a"}, {"data": b"a", "url": "https://shop.example/a.png"}]
    )
    def test_it_is_exactly_one_thing(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match="exactly one"):
            ImageRef(**fields)

    @pytest.mark.parametrize("url", ["ftp://shop.example/a.png", "file:///etc/passwd", "javascript:x", "a.png", ""])
    def test_only_web_and_data_urls_are_urls(self, url: str) -> None:
        with pytest.raises(ValidationError, match="starts with http"):
            ImageRef(url=url)

    def test_it_is_read_as_people_write_it(self, tmp_path: Path) -> None:
        assert ImageRef.parse(" HTTPS://shop.example/a.png ").url == "HTTPS://shop.example/a.png"
        assert ImageRef.parse("data:image/png;base64,AA==").url is not None
        assert ImageRef.parse("a/b.png", base=tmp_path).path == tmp_path / "a" / "b.png"
        assert ImageRef.parse("a/b.png").path == Path("a/b.png")
        assert ImageRef.parse("/elsewhere/b.png", base=tmp_path).path == Path("/elsewhere/b.png")

    @pytest.mark.parametrize(
        ("ref", "label"),
        [
            (ImageRef(path=Path("/home/me/secret/mug.png")), "mug.png"),
            (ImageRef(data=b"secret"), "6 bytes"),
            (ImageRef(url="data:image/png;base64,c2VjcmV0"), "data URL"),
            (ImageRef(url="https://me:secret@shop.example:8080/mug.png?key=secret#secret"), "https://shop.example/mug.png"),
            (ImageRef(url="http://[secret"), "malformed URL"),
            (ImageRef(url=f"http://a/{'b' * 300}secret"), f"http://a/{'b' * 188}..."),
            (ImageRef(url="http://me:se/secret@shop.example/a/mug.png"), "http://.../mug.png"),
            (ImageRef(url="http://me:a/secret@shop.example"), "http://.../shop.example"),
            (ImageRef(url="http://me:#secret@shop.example/mug.png"), "http://me"),
        ],
    )  # fmt: skip
    def test_what_others_see_of_it_keeps_secrets(self, ref: ImageRef, label: str) -> None:
        assert ref.label == str(ref) == label
        product = Product(id="mug", images=(ref,))
        shown = f"{ref} {ref!r} {product!r} {product.model_dump()} {product.model_dump_json()}"
        assert "secret" not in shown
        assert "c2VjcmV0" not in shown  # "secret" in base64
        assert product.model_dump(mode="json")["images"] == [{"id": ref.id, "label": label}]
        assert Product.model_validate(product.model_dump()) == product
        stored = product.model_dump_json(context=WITH_LOCATIONS)
        assert Product.model_validate_json(stored) == product

    def test_its_id_depends_on_the_location_without_credentials(self) -> None:
        one = ImageRef(url="https://me:hunter2@shop.example/a.png?size=1")
        assert one.id == ImageRef(url="https://shop.example/a.png?size=1").id
        assert one.id != ImageRef(url="https://shop.example/a.png?size=2").id
        assert ImageRef(path=Path("a.png")).id != ImageRef(data=b"a.png").id

    @pytest.mark.parametrize("location", ["", "[" * 100_000, "3", '"x"', "{}", 3, None, {"path": "a.png"}])
    def test_a_location_that_is_none_is_refused(self, location: object) -> None:
        with pytest.raises(ValidationError):
            ImageRef.model_validate({"id": "0", "label": "a.png", "location": location})

    def test_a_refused_one_is_not_repeated_in_the_error(self) -> None:
        with pytest.raises(ValidationError) as caught:
            ImageRef(url="ftp://me:hunter2@shop.example/a.png")
        assert "hunter2" not in f"{caught.value}"

    @given(st.binary(min_size=1, max_size=100))
    def test_bytes_survive_json(self, data: bytes) -> None:
        ref = ImageRef(data=data)
        assert ImageRef.model_validate_json(ref.model_dump_json(context=WITH_LOCATIONS)) == ref
        assert ref.model_dump(mode="json", context=WITH_LOCATIONS) == {"data": base64.b64encode(data).decode()}

    def test_bytes_that_are_not_base64_are_refused(self) -> None:
        with pytest.raises(ValidationError):
            ImageRef.model_validate_json('{"data": "not base64!"}')


class TestProduct:
    def test_its_fields_leave_out_what_is_empty_and_never_hide_its_own(self) -> None:
        product = Product(
            id="m1", title="Mug", price=9.50, attributes={"volume_ml": 350, "title": "Jug", "lid": False, "note": ""}
        )
        assert product.fields == {"title": "Mug", "price": "9.5", "volume_ml": "350", "lid": "False"}
        assert product.text == "title: Mug\nprice: 9.5\nvolume_ml: 350\nlid: False"

    @pytest.mark.parametrize(
        "fields", [{"id": ""}, {"id": "a" * 513}, {"id": "m", "price": -1}, {"id": "m", "price": float("nan")},
                   {"id": "m", "price": float("inf")}, {"id": "m", "colour": "red"},
                   {"id": "m", "attributes": {"weight": float("inf")}}]
    )  # fmt: skip
    def test_what_is_no_product_is_refused(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Product(**fields)

    def test_attributes_keep_their_types(self) -> None:
        product = Product(id="m", attributes={"a": True, "b": 1, "c": 1.5, "d": "1"})
        assert [type(value) for value in product.attributes.values()] == [bool, int, float, str]
        assert Product.model_validate_json(product.model_dump_json()) == product


class TestCaptionKey:
    def test_it_is_stable_between_versions_and_machines(self) -> None:
        # A change of this number makes every stored caption unfindable: change EC3's prompt version instead.
        assert caption_key("0" * 64, QueryContext(task="t", focus="für"), "model", "1") == (
            hashlib.sha256(
                (
                    '["' + "0" * 64 + '",{"aim":"","focus":"für","known":"","question":"","task":"t"},"model","1"]'
                ).encode()
            ).hexdigest()
        )

    def test_it_changes_with_the_image_each_part_of_the_context_the_captioner_and_the_prompt(self) -> None:
        image, other = "0" * 64, "1" * 64
        keys = [
            caption_key(image, CONTEXT, "model", "1"),
            caption_key(other, CONTEXT, "model", "1"),
            caption_key(image, CONTEXT, "model 2", "1"),
            caption_key(image, CONTEXT, "model", "2"),
            *(
                caption_key(image, CONTEXT.model_copy(update={field: "else"}), "model", "1")
                for field in QueryContext.model_fields
            ),
        ]
        assert len(set(keys)) == len(keys)

    @given(st.lists(st.text(max_size=5), min_size=2, max_size=2, unique=True), st.text(max_size=5))
    def test_parts_do_not_run_into_each_other(self, pair: list[str], third: str) -> None:
        left, right = pair
        assert caption_key("i", CONTEXT, left, third) != caption_key("i", CONTEXT, right, third)
        assert caption_key("i", CONTEXT, left, right) != caption_key("i", CONTEXT, right, left)


class TestQueryContext:
    def test_its_text_is_the_focus_else_what_is_known(self) -> None:
        assert CONTEXT.text == "Is it red?"
        assert QueryContext(task="cc", known="Mug").text == "Mug"


@pytest.mark.parametrize(
    ("fields", "valid"),
    [
        ({"label": "A"}, True),
        ({"text": "gibberish"}, False),
        ({"answerable": False}, True),
        ({"answerable": True}, True),
    ],
)
def test_a_prediction_is_valid_if_it_has_a_label_or_its_question_is_open(fields: dict[str, Any], valid: bool) -> None:
    assert Prediction(task="t", **fields).valid is valid


def test_probabilities_and_scores_are_shares() -> None:
    with pytest.raises(ValidationError):
        Vote(judge="j", verdict="yes", probability=1.1)
    with pytest.raises(ValidationError):
        Prediction(task="t", probabilities={"A": -0.1})


def test_everything_is_frozen_and_survives_json() -> None:
    caption = Caption(key="k", text="red", image="i", context=CONTEXT, captioner="c", prompt_version="1")
    prediction = Prediction(task="t", label="A", probabilities={"A": 1.0}, captions=(caption,))
    assert Prediction.model_validate_json(prediction.model_dump_json()) == prediction
    with pytest.raises(ValidationError, match="frozen"):
        caption.text = "blue"  # type: ignore[misc]
    assert caption.created_at.tzinfo is not None


def test_a_vote_with_a_failure_is_an_abstention() -> None:
    assert Vote(judge="j", verdict="abstain", failure="timeout").failure == "timeout"
    with pytest.raises(ValidationError, match="a judge that failed abstains"):
        Vote(judge="j", verdict="yes", failure="timeout")
