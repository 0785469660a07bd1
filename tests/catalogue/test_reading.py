import json
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.catalogue.format import ReadingOptions, inspect_catalogue
from caslie_tools.catalogue.reading import BadRow, BadValue, read_catalogue
from caslie_tools.catalogue.rows import _numbered
from caslie_tools.domain import ImageRef, Product
from caslie_tools.exceptions import CatalogueError
from tests.doubles import light_products, write_catalogue
from tests.paths import GROCERY, needs_grocery


def csv_file(folder: Path, text: str | bytes, name: str = "catalogue.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def jsonl_file(folder: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    return csv_file(folder, "\n".join(lines) + "\n", "catalogue.jsonl")


def read(path: Path, **options: Any) -> tuple[list[Product], list[BadRow | BadValue]]:
    """Returns the products, and what could not be read."""
    written = inspect_catalogue(path, ReadingOptions(**options))
    found = list(read_catalogue(path, written))
    products = [item for item in found if isinstance(item, Product)]
    return products, [item for item in found if not isinstance(item, Product)]


class TestCsv:
    def test_each_column_has_its_meaning_and_others_are_attributes(self, tmp_path: Path) -> None:
        path = csv_file(
            tmp_path,
            "id,title,description,category,price,brand,image,colour,volume_ml,weight_kg,code,note\n"
            'm1,"Mug, red",Holds tea.,Kitchen > Mugs,9.50,Tonus,a.png|b/c.png|https://shop.example/d.png,'
            "red,350,0.4,0123,\n",
        )
        (product,), bad = read(path)
        assert bad == []
        assert product == Product(
            id="m1",
            title="Mug, red",
            description="Holds tea.",
            category="Kitchen > Mugs",
            price=9.5,
            brand="Tonus",
            images=(
                ImageRef(path=tmp_path.resolve() / "a.png"),
                ImageRef(path=tmp_path.resolve() / "b" / "c.png"),
                ImageRef(url="https://shop.example/d.png"),
            ),
            attributes={"colour": "red", "volume_ml": 350, "weight_kg": 0.4, "code": "0123"},
        )
        assert [type(value) for value in product.attributes.values()] == [str, int, float, str]

    @pytest.mark.parametrize("written", ["0123", "1e3", "1,5", "+1", "1.", ".5", "1234567890123456", "1_000", "nan"])
    def test_what_would_not_read_back_as_it_was_written_stays_a_text(self, tmp_path: Path, written: str) -> None:
        (product,), _ = read(csv_file(tmp_path, f'id,code\nm1,"{written}"\n'))
        assert product.attributes == {"code": written}

    def test_columns_may_be_missing_and_cells_empty(self, tmp_path: Path) -> None:
        (product,), bad = read(csv_file(tmp_path, "id,price,image,colour\nm1,,,\n"))
        assert (product, bad) == (Product(id="m1"), [])

    def test_a_byte_order_mark_blank_lines_and_spaces_do_not_matter(self, tmp_path: Path) -> None:
        products, bad = read(csv_file(tmp_path, "\ufeffid, title\r\n\r\n m1 , Mug \r\n\r\n"))
        assert (products, bad) == ([Product(id="m1", title="Mug")], [])

    @pytest.mark.parametrize(
        ("row", "item", "reason"),
        [
            (b"m1,Mug", "line 3", "2 cells, but the header has 3"),
            (b"m1,Mug,1,2", "line 3", "4 cells, but the header has 3"),
            (b",Mug,1", "line 3", "line 3: the id is empty"),
            (b"  ,Mug,1", "line 3", "line 3: the id is empty"),
            (b"x" * 513 + b",Mug,1", "line 3", "line 3: the id is longer than 512 characters"),
            (b"m\xfc,Mug,1", "line 3", "line 3: the id is damaged"),
            (b"m0,Mug,1", "m0", "line 3: the id is already used on line 2"),
            (b"m1," + b"x" * 1_000_001 + b",1", "line 3", "not a CSV row: field larger than field limit"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_a_row_without_a_usable_id_is_lost_and_the_rest_goes_on(
        self, tmp_path: Path, row: bytes, item: str, reason: str
    ) -> None:
        text = "id,title,price\nm0,Größe für Köche,1\n".encode() + row + b"\nm2,Last,2\n"
        products, (bad,) = read(csv_file(tmp_path, text))
        assert [product.id for product in products] == ["m0", "m2"]
        assert isinstance(bad, BadRow)
        assert bad.item == item
        assert bad.reason.startswith(reason)

    @pytest.mark.parametrize(
        ("cells", "product", "reason"),
        [
            (b"Mug,cheap,a.png,1", {"price": None}, "price: 'cheap' is not a price"),
            (b"Mug,-1,a.png,1", {"price": None}, "price: '-1' is negative"),
            (b"Mug,12-15,a.png,1", {"price": None}, "price: '12-15' is not a price"),
            (b"M\xfcg,9,a.png,1", {"title": ""}, "title: 'M?g' is damaged"),
            (b"Mug,9,a.png|https://[|b.png,1", {}, "image: 'https://['"),
            (b"Mug,9,a.png,\xfc", {"attributes": {}}, "code: '?' is damaged"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_a_value_that_cannot_be_read_costs_only_its_field(
        self, tmp_path: Path, cells: bytes, product: dict[str, Any], reason: str
    ) -> None:
        text = "id,title,price,image,code\nm0,Größe für Köche,1,,\nm1,".encode() + cells + b"\n"
        (_, found), bad = read(csv_file(tmp_path, text))
        whole = {"title": "Mug", "price": 9, "attributes": {"code": 1}} | product
        assert {name: getattr(found, name) for name in whole} == whole
        if "[" not in reason:
            (value,) = bad
            assert isinstance(value, BadValue)
            assert value.item == "m1"
            assert value.reason.startswith(f"line 3: {reason}")

    def test_rows_come_in_the_files_order(self, tmp_path: Path) -> None:
        found = list(read_catalogue(csv_file(tmp_path, "id,price\na,x\n,1\nb,1\n")))
        assert [type(item) for item in found] == [BadValue, Product, BadRow, Product]

    @pytest.mark.parametrize("text", ["", "\n", "title,price\nMug,1\n", "sku;title\n1;Mug\n", "x" * 1_000_001])
    def test_without_an_id_column_it_cannot_be_read_at_all(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(CatalogueError, match=r"catalogue\.csv: the first line"):
            list(read_catalogue(csv_file(tmp_path, text)))


class TestJsonLines:
    def test_a_row_has_the_same_meaning(self, tmp_path: Path) -> None:
        path = jsonl_file(
            tmp_path,
            {"id": 7, "title": "Mug", "price": 9.5, "images": ["a.png", "https://shop.example/d.png"], "lid": False,
             "tags": ["red", 1], "note": None, "code": "0123", "attributes": {"volume_ml": 350}},
            {"id": "m2", "image": "a.png|b.png"},
        )  # fmt: skip
        (first, second), bad = read(path)
        assert bad == []
        assert (first.id, first.title, first.price) == ("7", "Mug", 9.5)
        assert first.attributes == {"lid": False, "tags": "red, 1", "code": "0123", "volume_ml": 350}
        assert [image.label for image in first.images] == ["a.png", "https://shop.example/d.png"]
        assert [image.label for image in second.images] == ["a.png", "b.png"]

    def test_an_image_that_is_not_there_is_none(self, tmp_path: Path) -> None:
        (product,), _ = read(jsonl_file(tmp_path, {"id": "m1", "images": [None, "", " ", "a.png"]}))
        assert [image.label for image in product.images] == ["a.png"]

    @pytest.mark.parametrize(
        ("row", "item", "reason"),
        [
            ("{nope", "line 2", "not JSON"),
            ("[" * 100_000, "line 2", "not JSON"),
            ("[1]", "line 2", "not a JSON object"),
            ('{"title": "Mug"}', "line 2", "line 2: the id is empty"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_a_bad_row_is_reported_and_the_rest_goes_on(self, tmp_path: Path, row: str, item: str, reason: str) -> None:
        products, (bad,) = read(jsonl_file(tmp_path, {"id": "m0"}, row, "", {"id": "m2"}))
        assert [product.id for product in products] == ["m0", "m2"]
        assert isinstance(bad, BadRow)
        assert bad.item == item
        assert bad.reason.startswith(reason)

    @pytest.mark.parametrize(
        ("field", "reason"),
        [
            ('"price": NaN', "price: 'nan' is not a finite number"),
            ('"price": -1', "price: '-1' is negative"),
            ('"price": true', "price: 'True' is not a price"),
            ('"price": {"amount": 1}', "price: "),
            (f'"price": 1{"0" * 400}', "price: "),
            ('"weight": Infinity', "weight: 'inf' is not a finite number"),
            ('"size": {"w": 1}', "size: \"{'w': 1}\" is not a text, a number or a list of them"),
            ('"title": "\\ud800"', "title: '?' is damaged"),
            ('"attributes": {"w": [[]]}', "w: "),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_a_value_that_cannot_be_read_costs_only_its_field(self, tmp_path: Path, field: str, reason: str) -> None:
        products, (bad,) = read(jsonl_file(tmp_path, {"id": "m0"}, f'{{"id": "m1", "brand": "Ember", {field}}}'))
        assert products[1] == Product(id="m1", brand="Ember")
        assert isinstance(bad, BadValue)
        assert bad.reason.startswith(f"line 2: {reason}")


@pytest.mark.parametrize("name", ["catalogue.xlsx", "catalogue", "catalogue.json"])
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CatalogueError, match=r"a catalogue must be a \.csv, \.tsv, \.txt, \.jsonl or \.ndjson"):
        list(read_catalogue(tmp_path / name))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read: No such file"):
        list(read_catalogue(tmp_path / "catalogue.csv"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(CatalogueError, match="cannot be read"):
        list(read_catalogue(tmp_path / "folder.csv"))


def test_the_light_products_survive_being_written_as_a_catalogue(tmp_path: Path) -> None:
    products, bad = read(write_catalogue(tmp_path))
    assert bad == []
    assert products == light_products(tmp_path.resolve())


@needs_grocery
def test_the_grocery_catalogue_has_no_bad_row() -> None:
    products, bad = read(GROCERY / "products.csv")
    assert (len(products), bad) == (81, [])
    assert all(image.path and image.path.exists() for product in products for image in product.images)


@pytest.mark.parametrize("name", ["c{}", "same"])
def test_each_of_many_columns_is_looked_at_a_few_times(tmp_path: Path, name: str) -> None:
    class Counting(str):
        compared = 0
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            Counting.compared += 1
            return str.__eq__(self, other)

    header = [Counting(name.format(number)) for number in range(3000)]
    names = _numbered(header)
    assert len(set(names)) == 3000
    assert Counting.compared < 10 * len(header)
    if name == "same":
        assert names[:3] == ["same", "same (2)", "same (3)"]


def test_numbered_names_do_not_collide_with_written_ones() -> None:
    assert _numbered(["a", "a (2)", "a", "", "", "a"]) == ["a", "a (2)", "a (3)", "", "", "a (4)"]
