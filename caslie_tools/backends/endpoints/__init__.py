"""Models people host themselves, behind OpenAI-compatible endpoints such as vLLM's."""
