"""Plans, starts and supervises the vLLM servers of a profile."""
