"""The subcommands of `ernie`, one file each: argument parsing only, no logic.

A command module has `HELP` (its first line is the summary in `ernie --help`, the rest is the description
and the examples of `ernie NAME --help`), `add_arguments(parser)` and `run(args) -> int | None`.
Heavy imports belong inside `run`.
"""
