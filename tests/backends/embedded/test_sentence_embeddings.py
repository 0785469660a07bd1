from concurrent.futures import ThreadPoolExecutor

import numpy as np

from caslie_tools.backends.embedded import MiniLMEmbeddings


def test_sentences_of_similar_meaning_have_similar_vectors(embeddings: MiniLMEmbeddings) -> None:
    vectors = embeddings.encode(["a jacket against the rain", "waterproof coat", "apple juice"])

    assert vectors.shape == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.3 > vectors[0] @ vectors[2]


def test_a_vector_does_not_depend_on_its_batch(embeddings: MiniLMEmbeddings) -> None:
    batch = MiniLMEmbeddings().encode(
        ["a lamp", "a much longer sentence about the weather of last year, and of this year"]
    )

    assert np.allclose(batch[0], embeddings.embed_query("a lamp"), atol=1e-5)


def test_empty_and_long_texts_have_vectors_and_no_texts_give_none(embeddings: MiniLMEmbeddings) -> None:
    assert embeddings.embed_documents([]) == []
    assert len(embeddings.embed_query("")) == 384
    assert len(embeddings.embed_query("word " * 5000)) == 384


def test_several_threads_can_use_the_model(embeddings: MiniLMEmbeddings) -> None:
    texts = [f"product number {number}" for number in range(24)]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(embeddings.embed_query, texts))

    assert np.allclose(parallel, MiniLMEmbeddings().encode(texts), atol=1e-5)
