"""Profiles: which models take which role, by name, from TOML, or built in code."""
