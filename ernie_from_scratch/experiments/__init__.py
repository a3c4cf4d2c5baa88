"""The demo and the runs that the chapters compare."""
