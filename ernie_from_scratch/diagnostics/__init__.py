"""Diagnostics: the machine (doctor), prepared corpora (inspect), runs (report), failed steps (replay)."""
