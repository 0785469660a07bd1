import pytest

from caslie_tools.exceptions import InputError
from caslie_tools.roles.interfaces import VisionRequest
from caslie_tools.roles.vision_predictor import ModelVisionPredictor
from caslie_tools.tasks import get_task
from caslie_tools.tasks.fusion import fuse
from tests.doubles import RecordingChatModel, draw_picture, load_picture

MUG = ("product", load_picture(draw_picture("350 ML", "red", size=(800, 600))))


def request(task: str, record: object, *images: object) -> VisionRequest:
    definition = get_task(task)
    instance = definition.read({"input": record, "options": ["A: Mugs", "B: Hats"] if task == "cc" else []})
    return VisionRequest(instance=fuse(definition, instance, []), images=images)  # type: ignore[arg-type]


async def test_a_closed_task_is_answered_from_text_and_image() -> None:
    model = RecordingChatModel(replies=[" A "])
    answer = await ModelVisionPredictor(model).ainvoke(request("cc", {"title": "Stoneware"}, MUG))
    assert (answer.text, answer.probabilities) == ("A", None)
    assert "Answer with exactly one of: A, B." in model.texts[0]


async def test_an_open_question_is_answered_in_words() -> None:
    model = RecordingChatModel(replies=["It holds 350 ml [1]."])
    question = {"question": "How much does it hold?", "products": [{"id": "mug", "title": "Mug"}]}
    answer = await ModelVisionPredictor(model).ainvoke(request("pqa", question, MUG))
    assert (answer.text, answer.answerable) == ("It holds 350 ml [1].", True)


async def test_without_images_it_answers_from_text() -> None:
    model = RecordingChatModel(replies=["B"])
    assert (await ModelVisionPredictor(model).ainvoke(request("cc", {"title": "Hat"}))).text == "B"
    assert "The images show" not in model.texts[0]


async def test_more_images_than_it_accepts_are_refused() -> None:
    predictor = ModelVisionPredictor(RecordingChatModel(replies=["A"]), name="vlm", max_images=1)
    with pytest.raises(InputError, match="vlm accepts 1 images, but the instance has 2"):
        await predictor.ainvoke(request("cc", {"title": "Mug"}, MUG, MUG))
