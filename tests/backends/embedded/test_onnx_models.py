from pathlib import Path

import pytest

from caslie_tools.backends.embedded import image_classifier, sentence_embeddings
from caslie_tools.backends.embedded.onnx_models import GRAPHS, onnx_session
from caslie_tools.exceptions import ModelError


def test_the_graphs_in_the_package_are_those_that_the_script_writes() -> None:
    onnx = pytest.importorskip("onnx", reason="writing the graphs needs onnx (group 'dev')")
    from scripts.onnx_graphs import graphs

    written = graphs()

    assert {path.name for path in GRAPHS.iterdir()} == set(written)
    for name, content in written.items():
        assert onnx.load_from_string((GRAPHS / name).read_bytes()) == onnx.load_from_string(content)


@pytest.mark.parametrize("graph", [sentence_embeddings.GRAPH, image_classifier.GRAPH])
def test_a_graph_without_its_weights_cannot_be_loaded(graph: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"the model {graph} cannot be loaded"):
        onnx_session(graph, tmp_path, "Testing")
