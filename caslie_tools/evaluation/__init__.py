"""Evaluation: are captions that pass the jury worth their cost, for this data and these models?"""
