"""Reads a shop's catalogue and indexes it into a caption store."""
