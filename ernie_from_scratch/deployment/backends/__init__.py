"""Inference engines behind one interface: `registry` lists them, `base` says what each of them does."""
