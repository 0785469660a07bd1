"""Evaluation: is a caption behind the jury worth it, for this data and these models?"""
