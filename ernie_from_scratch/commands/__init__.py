"""The subcommands of `ernie`, one file each: what is asked for on the command line, no logic.

A command module has `HELP` (its first line is the summary in `ernie --help`, the rest is the description and the
examples of `ernie NAME --help`), `SETTINGS`, the settings class whose options are the flags, or several of them of
which a --config file gives the first, and `run(settings) -> int | None`, called with an instance of each class;
it calls their `check()`. Heavy imports belong inside `run`.
"""
