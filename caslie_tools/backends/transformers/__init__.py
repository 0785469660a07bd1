"""Models in this process, through Hugging Face transformers (extra ``local``).

Importing this package loads no model and does not import torch or transformers.
"""
