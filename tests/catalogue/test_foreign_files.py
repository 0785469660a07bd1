# ruff: noqa: RUF001 (the characters that people write)
"""Catalogues as spreadsheets and shops in many countries write them: encodings, separators, columns and numbers."""

from pathlib import Path
from typing import Any

import pytest

from caslie_tools.catalogue.format import CatalogueFormat, ReadingOptions, inspect_catalogue
from caslie_tools.catalogue.reading import BadRow, BadValue, read_catalogue
from caslie_tools.domain import Product
from caslie_tools.exceptions import CatalogueError


def save(folder: Path, text: str, encoding: str = "utf-8", name: str = "catalogue.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read(path: Path, **options: Any) -> tuple[CatalogueFormat, list[Product], list[BadRow | BadValue]]:
    written = inspect_catalogue(path, ReadingOptions(**options))
    found = list(read_catalogue(path, written))
    products = [item for item in found if isinstance(item, Product)]
    return written, products, [item for item in found if not isinstance(item, Product)]


GERMAN = (
    "Artikelnummer;Bezeichnung;Preis;Größe;Gewicht\r\n"
    "A-1;Becher für Köche;1.234,50 €;36;1,5\r\n"
    ";;;;\r\n"
    'A-2;"Schüssel; ""groß""";12,90 €;38;2\r\n'
    "\r\n"
    "A-3;Teller;9,- €;;0,25\r\n"
)
GERMAN_COLUMNS = {"id": "Artikelnummer", "title": "Bezeichnung", "price": "Preis", "size": "Größe"}


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_a_german_spreadsheet(tmp_path: Path, encoding: str) -> None:
    written, products, bad = read(save(tmp_path, GERMAN, encoding), columns=GERMAN_COLUMNS)
    assert bad == []
    assert products == [
        Product(id="A-1", title="Becher für Köche", price=1234.5, attributes={"size": 36, "Gewicht": 1.5}),
        Product(id="A-2", title='Schüssel; "groß"', price=12.9, attributes={"size": 38, "Gewicht": 2}),
        Product(id="A-3", title="Teller", price=9, attributes={"Gewicht": 0.25}),
    ]
    assert (written.written.encoding, written.written.delimiter) == (encoding, ";")
    assert written.written.encoding_guessed is (encoding == "cp1252")
    assert written.renamed == {column: name for name, column in GERMAN_COLUMNS.items()}
    assert (written.price_mark, written.decimal_commas, written.currency) == (",", ("Gewicht",), "EUR")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32", "cp1252"])
@pytest.mark.parametrize("name", ["products.tsv", "products.txt", "products.csv"])
def test_a_text_file_with_tabs(tmp_path: Path, encoding: str, name: str) -> None:
    text = "id\ttitle\tprice\n1\tThéière, à anses\t$1,234.50\n2\tCafé; moulu\t$5\n"
    written, products, bad = read(save(tmp_path, text, encoding, name))
    assert bad == []
    assert [(product.title, product.price) for product in products] == [
        ("Théière, à anses", 1234.5),
        ("Café; moulu", 5),
    ]
    assert written.written.delimiter == "\t"
    assert written.currency == "$"


@pytest.mark.parametrize(
    ("encoding", "title"),
    [
        ("cp1251", "Кружка красная, чайник"),
        ("cp1250", "Łyżka żółta, ścierka, źródło"),
        ("cp1252", "Blåbær, Smørebrød, crème brûlée, niño"),
        ("cp1252", "Tarte à la crème"),
        ("cp1252", "à la carte"),
        ("cp1252", "NESCAFÉ® “fuerte” – 5 m²"),
        ("cp932", "赤いマグカップ、急須と湯のみ"),
        ("gb18030", "红色马克杯,带盖子的茶壶"),
        ("euc_kr", "빨간 머그컵과 찻주전자"),
    ],
)
def test_an_encoding_of_one_region_is_guessed(tmp_path: Path, encoding: str, title: str) -> None:
    written, (product,), bad = read(save(tmp_path, f'id,title\n1,"{title}"\n', encoding))
    assert (product.title, bad) == (title, [])
    assert written.written.encoding_guessed


def test_a_wrong_guess_can_be_corrected(tmp_path: Path) -> None:
    path = save(tmp_path, "id,title\n1,Κούπα κόκκινη\n", "cp1253")
    written, (product,), _ = read(path, encoding="cp1253")
    assert (product.title, written.written.encoding_guessed) == ("Κούπα κόκκινη", False)
    with pytest.raises(CatalogueError, match="there is no encoding 'klingon'"):
        read(path, encoding="klingon")
    _, _, bad = read(save(tmp_path, "id,title\n1,Tassé\n", "cp1252"), encoding="utf-8")
    assert [item.reason[:25] for item in bad] == ["line 2: title: 'Tass?' is"]


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("id\n1\n", ","),
        ("id,title\n1,a; b; c\n2,d; e; f\n", ","),
        ("id;title\n1;a, b, c\n2;d, e, f\n", ";"),
        ("id|title|image\n1|a|\n", "|"),
        ("sep=;\r\nid;title\r\n1;a\r\n", ";"),
        ("id;title;price, EUR\n1;a;12,90\n2;b;3,50\n", ";"),
        ("ID;TITLE\n1;a\n", ";"),
    ],
)
def test_the_separator_is_detected(tmp_path: Path, text: str, delimiter: str) -> None:
    written, (product, *_), bad = read(save(tmp_path, text))
    assert (written.written.delimiter, product.id, bad) == (delimiter, "1", [])


def test_a_separator_can_be_named(tmp_path: Path) -> None:
    _, (product,), _ = read(save(tmp_path, "id:title\n1:a,b\n"), delimiter=":")
    assert (product.id, product.title) == ("1", "a,b")


def test_line_numbers_count_all_lines_of_the_file(tmp_path: Path) -> None:
    text = 'sep=;\n\nid;title;price\n1;"two\nlines";5\n\n2;b;cheap\n'
    _, products, (bad,) = read(save(tmp_path, text))
    assert [product.id for product in products] == ["1", "2"]
    assert bad.reason.startswith("line 7: price: 'cheap'")


def test_a_separator_at_the_end_of_each_line(tmp_path: Path) -> None:
    _, (product,), bad = read(save(tmp_path, "id,title,price\n1,Mug,5,,\n"))
    assert (product.price, bad) == (5, [])


class TestColumns:
    def test_a_field_has_its_name_in_upper_or_lower_case(self, tmp_path: Path) -> None:
        written, (product,), _ = read(save(tmp_path, "ID,Title,PRICE,Images,Colour\n1,Mug,5,a.png,red\n"))
        assert (product.id, product.title, product.price, len(product.images)) == ("1", "Mug", 5, 1)
        assert product.attributes == {"Colour": "red"}
        assert written.renamed == {"ID": "id", "Title": "title", "PRICE": "price", "Images": "image"}

    def test_a_chosen_column_takes_the_place_of_the_one_with_the_name(self, tmp_path: Path) -> None:
        text = "id,price,cost,Farbe\n1,9,5,rot\n"
        written, (product,), _ = read(save(tmp_path, text), columns={"price": "COST", "colour": "Farbe"})
        assert (product.price, product.attributes) == (5, {"colour": "rot"})
        assert written.ignored == ("price",)

    def test_json_lines_have_columns_too(self, tmp_path: Path) -> None:
        text = '{"SKU": 1, "name": "Mug", "cost": "12,90 €"}\n{"SKU": 2, "pictures": ["a.png"]}\n'
        columns = {"id": "SKU", "title": "name", "price": "cost", "image": "pictures"}
        _, (first, second), bad = read(save(tmp_path, text, name="c.jsonl"), columns=columns)
        assert (first.id, first.title, first.price, bad) == ("1", "Mug", 12.9, [])
        assert len(second.images) == 1

    @pytest.mark.parametrize(
        ("text", "columns", "message"),
        [
            ("sku,title\n1,a\n", {}, "the first line must name the columns; id is missing; choose a column, as in"),
            ("sku,title\n1,a\n", {"id": "skU "}, None),
            ("sku,title\n1,a\n", {"id": "skus"}, "has no column 'skus'; did you mean 'sku'?"),
            ("sku,title\n1,a\n", {"id": "number"}, "has no column 'number'; there are sku, title"),
            ("sku,title\n1,a\n", {"id": "sku", "title": "sku"}, "the column 'sku' is chosen for id and title"),
            ("id,price,price\n1,5,6\n", {}, "the columns 'price' and 'price (2)' can both be the price; choose one"),
            ("id,Title,TITLE\n1,5,6\n", {}, "the columns 'Title' and 'TITLE' can both be the title"),
        ],
    )
    def test_columns_that_cannot_be_resolved(
        self, tmp_path: Path, text: str, columns: dict[str, str], message: str | None
    ) -> None:
        path = save(tmp_path, text)
        if message is None:
            assert read(path, columns=columns)[1][0].id == "1"
            return
        with pytest.raises(CatalogueError) as caught:
            read(path, columns=columns)
        assert message in str(caught.value)

    def test_a_column_twice(self, tmp_path: Path) -> None:
        text = "id,image,colour,image,colour,price,price\n1,a.png,red,b.png|a.png,blue,5,6\n"
        _, (product,), _ = read(save(tmp_path, text), columns={"price": "price (2)"})
        assert [image.label for image in product.images] == ["a.png", "b.png"]
        assert (product.attributes, product.price) == ({"colour": "red", "colour (2)": "blue"}, 6)

    def test_a_column_without_a_name_is_left_out(self, tmp_path: Path) -> None:
        _, (product,), bad = read(save(tmp_path, ",id,title\n0,1,Mug\n"))
        assert (product, bad) == (Product(id="1", title="Mug"), [])

    def test_an_id_with_spaces_and_slashes(self, tmp_path: Path) -> None:
        _, (product,), bad = read(save(tmp_path, 'id,title\n" Mugs / red/350 ml ",Mug\n'))
        assert (product.id, bad) == ("Mugs / red/350 ml", [])

    @pytest.mark.parametrize("name", ["c.csv", "c.jsonl"])
    def test_an_empty_catalogue(self, tmp_path: Path, name: str) -> None:
        text = "id,title\n\n,\n" if name == "c.csv" else "\n\n"
        with pytest.raises(CatalogueError, match=r"there is no product in the file|no row has an id"):
            read(save(tmp_path, text, name=name))


def prices(folder: Path, *values: str, delimiter: str = ";", **options: Any) -> tuple[list[float | None], list[str]]:
    rows = "".join(f'{number}{delimiter}"{value}"\n' for number, value in enumerate(values))
    _, products, bad = read(save(folder, f"id{delimiter}price\n{rows}"), **options)
    return [product.price for product in products], [item.reason for item in bad]


class TestPrices:
    @pytest.mark.parametrize(
        ("written", "amount"),
        [
            ("12,90 €", 12.9),
            ("€12.90", 12.9),
            ("1.234,50\u00a0€", 1234.5),
            ("1\u202f234,50 zł", 1234.5),
            ("$1,234.50", 1234.5),
            ("US$ 5", 5),
            ("CHF 1'234.50", 1234.5),
            ("Fr. 12.–", 12),
            ("Rs.500", 500),
            ("12,-", 12),
            ("1,234,567", 1234567),
            ("0.500", 0.5),
            (".5", 0.5),
            ("５００円", 500),
            ("EUR 12,90 €", 12.9),
            ("  7 ", 7),
        ],
    )
    def test_one_price(self, tmp_path: Path, written: str, amount: float) -> None:
        assert prices(tmp_path, written) == ([amount], [])

    @pytest.mark.parametrize(
        "written", ["cheap", "12-15 €", "ab 12 €", "12 €/kg", "12 pcs", "1.2.3", "-5 €", "1e3", "inf", "EUR 5 $", "5²"]
    )
    def test_what_is_no_price(self, tmp_path: Path, written: str) -> None:
        (price,), (reason,) = prices(tmp_path, written)
        assert price is None
        assert reason.startswith(f"line 2: price: '{written}' is ")

    def test_a_number_with_two_meanings_is_read_as_the_others(self, tmp_path: Path) -> None:
        assert prices(tmp_path, "1.234", "12,90") == ([1234, 12.9], [])
        assert prices(tmp_path, "1.234", "12.90") == ([1.234, 12.9], [])
        assert prices(tmp_path, "1,234", "12.90", delimiter=",") == ([1234, 12.9], [])
        assert prices(tmp_path, "1.234", "5", delimiter=",") == ([1.234, 5], [])  # as programs write it

    @pytest.mark.parametrize(
        ("values", "delimiter"), [(("1.234", "5"), ";"), (("1,234", "5"), ","), (("1.234", "5,5", "5.5"), ",")]
    )
    def test_a_number_with_two_meanings_is_not_guessed(
        self, tmp_path: Path, values: tuple[str, ...], delimiter: str
    ) -> None:
        (price, *_), (reason,) = prices(tmp_path, *values, delimiter=delimiter)
        assert price is None
        assert "can be read in two ways; set the decimal mark" in reason
        assert prices(tmp_path, *values, delimiter=delimiter, decimal="point")[1] == []
        assert prices(tmp_path, *values, delimiter=delimiter, decimal="comma")[1] == []

    def test_another_currency_than_that_of_most_prices(self, tmp_path: Path) -> None:
        amounts, (reason,) = prices(tmp_path, "5 €", "EUR 6", "7", "8 USD", "9 €")
        assert amounts == [5, 6, 7, None, 9]
        assert reason == "line 5: price: '8 USD' is in another currency than most prices, which are in EUR"


class TestAttributes:
    def test_a_column_with_decimal_commas(self, tmp_path: Path) -> None:
        text = "id;price;kg;code;note;sizes\n1;5,5;1,5;0123;1,5;36,38\n2;6;1.234;0,5;about 2;36,38,40\n"
        _, (first, second), bad = read(save(tmp_path, text))
        assert first.attributes == {"kg": 1.5, "code": "0123", "note": "1,5", "sizes": "36,38"}
        assert second.attributes == {"kg": 1234, "code": 0.5, "note": "about 2", "sizes": "36,38,40"}
        assert bad == []

    def test_commas_in_a_file_without_decimal_commas_are_no_numbers(self, tmp_path: Path) -> None:
        _, (product,), _ = read(save(tmp_path, 'id,price,sizes\n1,5.50,"36,38"\n'))
        assert product.attributes == {"sizes": "36,38"}

    def test_a_number_with_two_meanings_stays_a_text(self, tmp_path: Path) -> None:
        _, (product, *_), _ = read(save(tmp_path, "id;price;weight\n1;5,50;1.234\n2;5;2.500\n"))
        assert product.attributes == {"weight": "1.234"}
        _, (product, *_), _ = read(save(tmp_path, "id;price;weight\n1;5.50;1.234\n2;5;2.500\n"))
        assert product.attributes == {"weight": 1.234}
