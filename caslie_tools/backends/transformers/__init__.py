"""Models in this process, through Hugging Face transformers (extra ``transformers``).

Importing this package loads no model and does not import torch or transformers.
"""
