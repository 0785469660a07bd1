"""The roles that a model can play (captioner, judge, predictor), their prompts, and the models behind them."""
