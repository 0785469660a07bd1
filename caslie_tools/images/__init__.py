"""Pictures: loading them safely, fetching them from URLs, and turning them into vectors."""
