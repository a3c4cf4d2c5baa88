"""Experiments: the demo, the runs that the parallel chapters compare, and the runner of long experiments."""
