"""Fitting CASLIE to a shop of its own: the model that answers (LoRA), and the gate that decides which captions it sees.

Importing this loads no model and none of the heavy packages.
"""
