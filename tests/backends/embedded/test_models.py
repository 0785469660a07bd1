"""The packaged models: what they recognise, and that they are the published ones."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caslie_tools.backends.embedded import EfficientNetPictures, MiniLMEmbeddings, TextReader, weights
from caslie_tools.backends.embedded.pictures import class_names
from caslie_tools.exceptions import MissingExtraError, ModelError
from tests.backends.embedded.conftest import label, sample_picture
from tests.paths import ROOT


def test_sentences_of_like_meaning_are_near(embeddings: MiniLMEmbeddings) -> None:
    vectors = embeddings.encode(["a jacket against the rain", "waterproof coat", "apple juice"])

    assert vectors.shape == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.3 > vectors[0] @ vectors[2]


def test_a_vector_does_not_depend_on_its_batch(embeddings: MiniLMEmbeddings) -> None:
    fresh = MiniLMEmbeddings()
    run_together = fresh.encode(["a lamp", "a much longer sentence about the weather of last year, and of this year"])

    assert np.allclose(run_together[0], embeddings.embed_query("a lamp"), atol=1e-5)


def test_no_text_is_no_vector_and_an_empty_text_has_one(embeddings: MiniLMEmbeddings) -> None:
    assert embeddings.embed_documents([]) == []
    assert len(embeddings.embed_query("")) == 384
    assert len(embeddings.embed_query("word " * 5000)) == 384


def test_threads_share_the_models(embeddings: MiniLMEmbeddings, pictures: EfficientNetPictures) -> None:
    texts = [f"product number {number}" for number in range(24)]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(embeddings.embed_query, texts))
        seen = list(pool.map(lambda image: pictures.see(image).vector, [sample_picture("ember-mug")] * 4))

    assert np.allclose(parallel, MiniLMEmbeddings().encode(texts), atol=1e-5)
    assert all(np.array_equal(vector, seen[0]) for vector in seen)


def test_the_classifier_knows_a_mug(pictures: EfficientNetPictures) -> None:
    seen = pictures.see(sample_picture("ember-mug"))

    assert class_names()[int(seen.probabilities.argmax())] == "coffee mug"
    assert seen.probabilities.sum() == pytest.approx(1, abs=1e-4)
    assert len(class_names()) == 1000


def test_like_pictures_are_near(pictures: EfficientNetPictures) -> None:
    kelp, reed, pan = pictures.embed_images(
        [sample_picture(name) for name in ("kelp-bottle", "reed-bottle", "forge-pan")]
    )

    assert len(kelp) == 1280
    assert np.linalg.norm(kelp) == pytest.approx(1, abs=1e-5)
    assert np.dot(kelp, reed) > np.dot(kelp, pan) + 0.2


def test_text_is_read_with_scores_and_lines_of_one_label_are_joined(reader: TextReader) -> None:
    (text,) = reader.read(label("WATERPROOF", "IP67").rgb())

    assert text.text == "WATERPROOF IP67"
    assert text.score > 0.9
    assert 0.02 < text.height < 0.3


def test_no_text_is_read_where_there_is_none(reader: TextReader) -> None:
    assert reader.read(label().rgb()) == ()
    assert reader.read(Image.new("RGB", (3, 3), "white")) == ()


def test_large_pictures_are_read_too(reader: TextReader) -> None:
    picture = label("APPLE JUICE").rgb().resize((3000, 3000))

    assert [text.text for text in reader.read(picture)] == ["APPLE JUICE"]


def test_a_changed_model_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"other weights")

    with pytest.raises(ModelError, match=r"model\.safetensors is not the published one"):
        weights.verified(file, "0" * 64)
    with pytest.raises(ModelError, match="cannot be read"):
        weights.verified(tmp_path / "missing.pth", "0" * 64)


def test_a_missing_package_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"Seeing needs .*caslie-tools\[embedded\]"):
        weights.require("no_such_package_of_ours", "Seeing")


def test_importing_loads_nothing_heavy_and_using_prints_nothing() -> None:
    script = textwrap.dedent(
        """
        import sys
        from caslie_tools.profiles.embedded import embedded_profile
        from tests.backends.embedded.conftest import label
        profile = embedded_profile()
        heavy = {"torch", "transformers", "rapidocr", "onnxruntime"} & set(sys.modules)
        assert not heavy, heavy
        from caslie_tools.backends.embedded import Perceiver, TextReader
        profile.embeddings.embed_query("a lamp")
        seen = Perceiver(profile.pictures, TextReader()).perceive(label("IP67 LAMP"))
        assert seen.text, seen
        assert Perceiver(profile.pictures, TextReader()).perceive(label()).text == ()
        """
    )
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip

    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
