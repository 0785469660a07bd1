"""Instruction data in MMECInstruct's form: reading, checking, converting, and building it from a shop's logs."""
