"""A profile with every role on a tiny model."""

PROFILE = """
description = "Tiny models with random weights. Their responses have no meaning."

[defaults]
backend = "transformers"
model = "{folder}/text"
device = "cpu"

[captioner]
model = "{folder}/vision"
max_tokens = 8

[[judges]]
name = "reader"
[[judges]]
name = "second reader"
model = "{folder}/vision"
[[judges]]
name = "seer"
model = "{folder}/vision"
sees_image = true

[predictor]
max_tokens = 8
temperature = 0.0

[embeddings]
model = "{folder}/encoder"
"""
"""TOML. ``{folder}`` stands for the folder of the models."""
