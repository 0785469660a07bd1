"""Attributes and amounts: found by what they mean, in columns, sentences and print, in several languages."""

import pytest

from caslie_tools.backends.embedded import EmbeddedPredictor
from tests.backends.embedded.asking import ask, product, said

MUESLI = product(
    "muesli", title="Crunchy honey muesli", brand="Alpenglow", category="Breakfast > Cereals", price=4.29,
    quantity="500g", labels="Organic, Fair trade", energy_kcal_100g=421, countries="Austria",
    ingredients="Whole grain oats 62%, honey 12%, sunflower oil, raisins, hazelnuts 4%, desiccated coconut, sea salt",
    label_text="ALPENGLOW CRUNCHY HONEY MUESLI with toasted hazelnuts. Best before: see top of pack. Store in a "
    "cool and dry place. May contain traces of sesame. Serve with milk or yoghurt.",
)  # fmt: skip
COAT = product(
    "coat", title="Longline coat", brand="Halden", category="Women > Coats", price=149, colour="Camel",
    fabric_details="Main: 62% Wool, 30% Polyester, 8% Viscose. Lining: 100% Polyester.",
    size_fit="Model's height: 178cm. Length 112 cm.", features="Notch lapels|Side pockets",
    made="Designed in Oslo, made in Turkey",
)  # fmt: skip
DRILL = product(
    "drill", title="Akku-Bohrschrauber AB 12", brand="Werkmann", category="Werkzeug > Bohrer", price=89,
    gewicht_kg=1.1, spannung_v=12, max_drehmoment="30 Nm",
    description="Kompakter Bohrschrauber mit LED-Licht. Garantie 3 Jahre. Drehzahl bis 1500 rpm.",
)  # fmt: skip


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How much is in the pack?", "Crunchy honey muesli: 500g."),
        ("How many calories does it have?", "Crunchy honey muesli: 421 kcal."),
        ("Where is it made?", "Crunchy honey muesli: Austria."),
        ("Who produces it?", "Crunchy honey muesli: Alpenglow."),
        ("How should I store it?", "Crunchy honey muesli: Store in a cool and dry place."),
        ("How much honey is in it?", "Crunchy honey muesli: honey 12%."),
        ("Which oil is in it?", "Crunchy honey muesli: sunflower oil."),
        ("What is it?", "Crunchy honey muesli."),
        ("What is the fibre content?", ""),
        ("How many raisins are in it?", ""),
        ("When does it expire?", ""),
        ("What is the warranty?", ""),
    ],
)
async def test_a_long_label_is_cut_to_the_part_that_answers(
    predictor: EmbeddedPredictor, question: str, expected: str
) -> None:
    assert await said(predictor, question, MUESLI) == expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is it made of?", "Main: 62% Wool, 30% Polyester, 8% Viscose."),
        ("What is the lining made of?", "Lining: 100% Polyester."),
        ("How long is the coat?", "Length 112 cm."),
        ("Where was it made?", "made in Turkey"),
        ("What colour is it?", "Camel"),
        ("How much does it weigh?", ""),
        ("Which sizes are available?", ""),
    ],
)
async def test_blends_and_dimensions_in_texts_are_found(
    predictor: EmbeddedPredictor, question: str, expected: str
) -> None:
    answer = await said(predictor, question, COAT)

    assert expected in answer
    assert bool(expected) is bool(answer)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How heavy is it?", "1.1 kg"), ("Combien pèse-t-il ?", "1.1 kg"), ("Hur mycket väger den?", "1.1 kg"),
        ("Was kostet er?", "89"), ("¿Cuánto cuesta?", "89"), ("Vad kostar den?", "89"), ("What is the price?", "89"),
        ("Wer ist der Hersteller?", "Werkmann"), ("¿De qué marca es?", "Werkmann"),
        ("Quelle est la garantie ?", "3 Jahre"), ("How long is the warranty?", "3 Jahre"),
        ("What is the maximum torque?", "30 Nm"), ("Welche Spannung hat er?", "12 V"),
        ("Vilken färg har den?", ""), ("Wie lange hält der Akku?", ""), ("Warum ist er so teuer?", ""),
    ],
)  # fmt: skip
async def test_numbers_and_brands_are_found_across_languages(
    predictor: EmbeddedPredictor, question: str, expected: str
) -> None:
    answer = await said(predictor, question, DRILL)

    assert expected in answer
    assert bool(expected) is bool(answer)


async def test_the_answer_is_short_and_the_citation_says_where_it_is_from(predictor: EmbeddedPredictor) -> None:
    answer = await ask(predictor, "What does it cost?", MUESLI)

    assert answer.text == "Crunchy honey muesli: 4.29."
    assert [(citation.field, citation.quote) for citation in answer.citations] == [("price", "4.29")]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How wide is it?", ""),  # 20 mm is a thickness
        ("How thick is the shelf?", "20 mm"),
        ("How long is the cord?", "2 m"),
        ("How long is it?", ""),  # the cord is not the lamp
        ("What is the shade made of?", "The shade is made of paper"),
        ("What is it made of?", ""),
        ("How fast does it charge?", ""),
        ("How long does the battery last?", ""),
    ],
)
async def test_a_fact_about_a_part_does_not_answer_for_the_whole(
    predictor: EmbeddedPredictor, question: str, expected: str
) -> None:
    lamp = product(
        "lamp", title="Reading lamp", description="The shade is made of paper. For a shelf up to 20 mm thick. "
        "The cord is 2 m long. Charges by cable in 3 hours.",
    )  # fmt: skip
    answer = await said(predictor, question, lamp)

    assert expected in answer
    assert bool(expected) is bool(answer)


@pytest.mark.parametrize("written", ["200g", "200 g", "0.2 kg", "0,2kg"])
async def test_a_quantity_is_found_however_it_is_written(predictor: EmbeddedPredictor, written: str) -> None:
    tea, other = product("tea", title="Green tea"), product("other", title="Black tea", weight_g=150)

    assert await said(predictor, "Which tea has 200 g?", tea, other, tea=f'It reads "{written}".') == (
        f'Green tea: "{written}".'
    )


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What brand is it?", '"ALPENGLOW"'),
        ("What is it called?", '"ALPENGLOW", "MUESLI CRUNCH"'),
        ("What is printed on it?", '"ALPENGLOW", "MUESLI CRUNCH", "500g", "VEGAN"'),
        ("Was steht auf der Packung?", '"ALPENGLOW", "MUESLI CRUNCH", "500g", "VEGAN"'),
        ("What colour is it?", "It is mostly green, with brown."),
        ("How much does it weigh?", '"500g"'),
        ("What is the price?", ""),
        ("Where is it from?", ""),
    ],
)
async def test_print_answers_for_a_product_without_text(
    predictor: EmbeddedPredictor, question: str, expected: str
) -> None:
    caption = 'It reads "ALPENGLOW", "MUESLI CRUNCH", "500g", "VEGAN". It is mostly green, with brown.'
    answer = await said(predictor, question, product("sku1"), sku1=caption)

    assert expected in answer
    assert bool(expected) is bool(answer)


async def test_an_equal_sentence_of_several_captions_is_said_once(predictor: EmbeddedPredictor) -> None:
    caption = 'It is mostly grey. It is mostly grey. It reads "OAK", "OAK".'

    assert await said(predictor, "What colour is it?", product("mug", title="Mug"), mug=caption) == (
        "Mug: It is mostly grey."
    )
    assert await said(predictor, "What is printed on it?", product("mug", title="Mug"), mug=caption) == 'Mug: "OAK".'


@pytest.mark.parametrize(
    ("title", "colour"),
    [("Blue cotton shirt", "blue"), ("Shirt, navy", "navy"), ("Pink Lady", ""), ("Red Rooster", "")],
)
async def test_a_name_with_a_colour_in_it_is_no_colour(predictor: EmbeddedPredictor, title: str, colour: str) -> None:
    answer = await said(predictor, "What colour is it?", product("p", title=title))

    assert colour in answer.lower()
    assert bool(colour) is bool(answer)


async def test_a_question_that_may_mean_many_products_is_refused(predictor: EmbeddedPredictor) -> None:
    assert await said(predictor, "What is the price?", MUESLI, COAT, DRILL) == ""
    assert await said(predictor, "What is the price of the coat?", MUESLI, COAT, DRILL) == "Longline coat: 149."


async def test_a_column_that_no_table_lists_is_found_by_its_name(predictor: EmbeddedPredictor) -> None:
    tent = product("tent", title="Dune tent", sleeping_places=3, hydrostatic_head_mm=4000)

    assert await said(predictor, "What is its hydrostatic head?", tent) == "Dune tent: hydrostatic head mm 4000 mm."


@pytest.mark.parametrize("question", ["What colour is the plug?", "Welche Farbe hat der Anschluss?"])
async def test_the_colour_of_a_picture_is_not_that_of_a_part(predictor: EmbeddedPredictor, question: str) -> None:
    fan = product("fan", title="Desk fan", category="Home > Fans")

    assert await said(predictor, question, fan, fan="It is mostly white.") == ""
    assert await said(predictor, "What colour is the fan?", fan, fan="It is mostly white.") == (
        "Desk fan: It is mostly white."
    )


@pytest.mark.parametrize("question", ["What is the fat percentage?", "What is the level of fat?"])
async def test_a_share_may_be_asked_for_as_a_percentage(predictor: EmbeddedPredictor, question: str) -> None:
    cheese = product("gouda", title="Gouda")

    assert await said(predictor, question, cheese, gouda='It reads "FAT 48%".') == 'Gouda: "FAT 48%".'
