"""Text to token ids: basic tokenization, WordPiece, vocabularies."""
