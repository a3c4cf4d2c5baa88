"""From raw text to words and token ids."""
