"""Where models run: in this package (embedded), on a server (endpoints), or in this process (transformers)."""
