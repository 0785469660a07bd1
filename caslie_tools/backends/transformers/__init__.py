"""Models in this process, through Hugging Face transformers (extra ``local``).

Importing this loads no model and none of the heavy packages.
"""
