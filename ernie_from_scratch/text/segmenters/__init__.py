"""Chinese text to words and entities."""
