import base64
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caslie_tools import Caslie
from tests.doubles import draw_picture

OWN = f"data:image/png;base64,{base64.b64encode(draw_picture('350 ML', 'blue')).decode()}"
MANY = {str(number): number for number in range(1001)}
MUG = {"query": "red mug", "product title": "Stoneware mug"}


async def test_a_question_is_answered_as_by_the_class(caslie: Caslie, client: httpx.AsyncClient) -> None:
    body = {"question": "Is the jacket waterproof?", "products": ["jacket"]}
    answer = (await client.post("/ask", json=body)).raise_for_status().json()
    expected = (await caslie.aask("Is the jacket waterproof?", products=["jacket"])).to_json()
    for document in (answer, expected):  # the second one finds the captions of the first one
        del document["timings_ms"]
        for caption in document["captions"]:
            del caption["source"]
    assert answer == expected
    assert "WATERPROOF" in answer["answer"]


async def test_answers_without_images_and_with_the_shoppers_own(client: httpx.AsyncClient) -> None:
    question = {"question": "How many ML does it hold?", "images": [OWN], "products": ["jacket"]}
    with_images = (await client.post("/ask", json=question)).raise_for_status().json()
    assert "350 ML" in with_images["answer"]
    without = (await client.post("/ask", json=question | {"use_images": False})).raise_for_status().json()
    assert without["captions"] == []


async def test_products_are_found_by_words_filter_and_image(client: httpx.AsyncClient) -> None:
    async def ids(**body: Any) -> list[str]:
        found = (await client.post("/search", json=body)).raise_for_status().json()["products"]
        return [hit["product"]["id"] for hit in found]

    assert (await ids(text="jacket"))[0] == "jacket"
    assert await ids(text="thing", where="price > 1000") == []
    assert len(await ids(image=OWN, count=2)) == 2


async def test_a_task_is_solved(client: httpx.AsyncClient) -> None:
    body = {"task": "psi", "record": {"input": MUG}, "images": [None]}
    answer = (await client.post("/predict", json=body)).raise_for_status().json()
    assert answer["label"] in ("yes", "no")
    assert (await client.post("/predict", json=body | {"record": MUG})).status_code == 200


async def test_captions_and_the_store_are_shown(caslie: Caslie, client: httpx.AsyncClient) -> None:
    captions = (await client.get("/captions", params={"product": "jacket"})).raise_for_status().json()["captions"]
    assert captions == caslie.captions("jacket")
    shown = (await client.get("/store")).raise_for_status().json()
    assert shown["store"]["products"] == 4
    assert (await client.get("/health")).json()["status"] == "ok"


async def test_the_page_of_the_api_needs_no_other_host(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).raise_for_status().text
    assert "https://" not in page.replace("https://json-schema.org", "")
    paths = (await client.get("/openapi.json")).raise_for_status().json()["paths"]
    assert set(paths) == {"/health", "/store", "/ask", "/search", "/predict", "/captions", "/index", "/jobs/{job_id}"}


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "message"),
    [
        ("/ask", {}, 422, "InvalidRequest", "question: Field required"),
        ("/ask", {"question": "x" * 4001}, 422, "InvalidRequest", "question"),
        ("/ask", {"question": "?", "products": ["sofa"]}, 404, "UnknownProductError", "there is no product 'sofa'"),
        ("/ask", {"question": "?", "where": "prise < 3"}, 400, "FilterError", "price"),
        ("/ask", {"question": "?", "images": ["/etc/passwd"]}, 422, "InvalidRequest", "an http(s) or data URL"),
        ("/ask", {"question": "?", "images": ["data:image/png;base64,AAAA"]}, 400, "ImageError", ""),
        ("/ask", {"question": "?", "images": ["http://127.0.0.1/"]}, 400, "ImageFetchError", ""),
        ("/ask", {"question": "?", "images": [OWN] * 17}, 422, "InvalidRequest", "images"),
        ("/ask", {"question": "?", "products": ["x" * 513]}, 422, "InvalidRequest", "products.0"),
        ("/predict", {"task": "x" * 201, "record": {}}, 422, "InvalidRequest", "task"),
        ("/search", {}, 400, "InputError", "nothing to search for"),
        ("/search", {"text": "mug", "count": 0}, 422, "InvalidRequest", "count"),
        ("/predict", {"task": "nonsense", "record": {}}, 400, "UnknownTaskError", "nonsense"),
        ("/predict", {"task": "psi", "record": {"input": MUG, "images": ["/etc/passwd"]}}, 422, "InvalidRequest", ""),
        ("/index", {}, 422, "InvalidRequest", "either a file or products"),
        ("/index", {"file": "a.csv"}, 403, "NoCatalogues", "--catalogues"),
        ("/index", {"products": [{"id": "a", "images": ["/etc/passwd"]}]}, 422, "InvalidRequest", "an http(s) or data"),
        ("/index", {"products": [{"id": "a", "attributes": MANY}]}, 422, "InvalidRequest", "1000 attributes"),
        ("/index", {"products": [{"id": "a", "title": "x" * 100_001}]}, 422, "InvalidRequest", "100,000 characters"),
        ("/index", {"products": [{"id": "a"}, {"id": "a"}]}, 422, "InvalidRequest", "not unique"),
        ("/nothing", {}, 404, "HTTPError", "Not Found"),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_is_an_error_with_its_reason(
    client: httpx.AsyncClient, path: str, body: Any, status: int, kind: str, message: str
) -> None:
    response = await client.post(path, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (status, kind)
    assert message in error["message"]
    assert "passwd" not in error["message"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    path=st.sampled_from(["/ask", "/search", "/predict", "/index"]),
    body=_JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "question": _JSON | st.text(alphabet=st.characters(), min_size=1, max_size=20),
            "text": st.text(alphabet=st.characters(), max_size=20),
            "where": _JSON,
            "products": _JSON | st.lists(st.text(max_size=3), max_size=2),
            "task": st.sampled_from(["psi", "cc", "sr", "x"]),
            "record": _JSON,
            "images": _JSON | st.lists(st.sampled_from(["data:", "data:,", "http://", "http://[", "data:image/png,x"])),
        },
    ),
)
async def test_any_json_is_answered_or_refused(client: httpx.AsyncClient, path: str, body: Any) -> None:
    response = await client.post(path, json=body)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert set(response.json()["error"]) == {"type", "message"}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"question": "\\ud800"}'])
async def test_a_body_that_is_not_json(client: httpx.AsyncClient, content: bytes) -> None:
    response = await client.post("/ask", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.json()["error"]["type"] in ("InvalidRequest", "HTTPError")


async def test_answers_have_no_path_and_no_bytes_of_an_image(client: httpx.AsyncClient, tmp_path: Path) -> None:
    bodies = [
        ("/ask", {"question": "Is the jacket waterproof?", "products": ["jacket"], "images": [OWN]}),
        ("/search", {"text": "jacket"}),
        ("/predict", {"task": "psi", "record": {"input": MUG}, "images": [OWN]}),
    ]
    for path, body in bodies:
        text = (await client.post(path, json=body)).raise_for_status().text
        assert str(tmp_path) not in text
        assert OWN[22:60] not in text
