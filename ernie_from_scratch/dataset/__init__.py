"""Prepared corpora -> samples -> masks -> batches. Start reading at pretraining_data.py."""
