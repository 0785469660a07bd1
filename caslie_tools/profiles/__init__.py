"""Profiles: which model plays which role. A profile has a name, is read from TOML, or is built in code."""
