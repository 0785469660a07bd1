"""The roles a model takes (captioner, judge, predictor), their prompts, and any model in any of them."""
