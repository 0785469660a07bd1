"""Images: loading them within limits, fetching them from URLs, and the interface of image embeddings."""
