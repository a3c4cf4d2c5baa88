"""Deployment: predict with a model, export it, run it on other engines, and serve it over HTTP."""
