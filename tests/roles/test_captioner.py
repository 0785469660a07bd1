import base64
import io

from PIL import Image

from caslie_tools.roles.captioner import ModelCaptioner
from tests.doubles import RecordingChatModel, caption_request, draw_picture
from tests.roles.prompt_data import data_of


async def test_the_prompt_has_the_image_and_the_context() -> None:
    model = RecordingChatModel(replies=["A red mug, 350 ml."])
    draft = await ModelCaptioner(model).ainvoke(caption_request(focus="How large is it?", known="Mug"))
    assert draft.text == "A red mug, 350 ml."
    assert draft.evidence == ()
    ((message,),) = model.seen
    assert isinstance(message.content, list)
    picture, text = message.content
    assert isinstance(picture, dict)
    url = picture["image_url"]["url"]
    assert url.startswith("data:image/png;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size == (160, 120)
    assert isinstance(text, dict)
    assert data_of(text["text"]) == {"task_text": "How large is it?", "known_about_product": "Mug"}
    assert "at most 50 words" in text["text"]


async def test_a_large_image_is_sent_reduced() -> None:
    model = RecordingChatModel(replies=["A mug."])
    request = caption_request(draw_picture("350 ML", "red", size=(800, 400)))
    await ModelCaptioner(model, max_side=200).ainvoke(request)
    picture = model.seen[0][0].content[0]
    assert isinstance(picture, dict)
    data = base64.b64decode(picture["image_url"]["url"].partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (200, 100)


def test_its_identity_is_its_models_name_or_a_given_one() -> None:
    model = RecordingChatModel(replies=["x"], model_name="vision-11b")
    assert ModelCaptioner(model).get_name() == "vision-11b"
    assert ModelCaptioner(model, name="mine").get_name() == "mine"
