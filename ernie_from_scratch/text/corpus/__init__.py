"""Raw text to a prepared corpus: reading, sentences, encoding, files."""
