"""Training: one loop, checkpoints, exact resume; pretraining on top of it."""
