"""The deployment room: predict with a model, export it, run it on other engines, serve it."""
