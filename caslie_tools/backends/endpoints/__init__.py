"""Models on your own servers with an OpenAI-compatible API, such as vLLM's (extra ``endpoints``)."""
