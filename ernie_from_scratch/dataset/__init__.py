"""The data room: prepared corpora -> samples -> masks -> batches. Start reading at data.py."""
