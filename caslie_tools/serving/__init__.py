"""Plans, starts and supervises vLLM servers for a profile."""
