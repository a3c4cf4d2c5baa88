"""Weights in files: formats, parameter names of other toolkits, published models, conversion."""
