"""The training room: from a model and batches to a finished run that can be stopped and resumed anywhere."""
