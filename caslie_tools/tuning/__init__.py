"""Adapts CASLIE to a shop: tunes the model that answers (LoRA), and the gate that decides which captions it receives.

Importing this package loads no model and none of the large libraries.
"""
