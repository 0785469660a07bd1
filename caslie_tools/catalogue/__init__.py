"""Reads a shop's catalogue and indexes it in a caption store."""
