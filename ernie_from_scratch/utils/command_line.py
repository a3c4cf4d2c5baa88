"""The command line of settings classes: a flag for each option, `--config FILE.yaml`, and one-line mistakes.

    parser = Parser(prog="ernie export")
    add_settings(parser, ExportSettings)
    settings = read_settings(ExportSettings, parser.parse_args(arguments))

`read_settings` starts from the defaults, lays the YAML file of --config over them and the flags over both.
"""

import argparse
import dataclasses
import typing
from pathlib import Path
from typing import Any

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.settings import S, Settings, nearest, option_of, read_yaml, unfold

METAVAR = {bool: "true|false", int: "N", float: "X", str: "TEXT", Path: "PATH"}


class Parser(argparse.ArgumentParser):
    """ArgumentParser whose mistakes are one-line UserErrors; it takes --max-seq-len for --max_seq_len."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, formatter_class=Formatter, **kwargs)

    def error(self, message: str) -> typing.NoReturn:
        raise UserError(f"{message}; `{self.prog} --help` shows the flags")

    def parse_args(self, args, namespace=None):
        args = [self._underscored(arg) for arg in args]
        namespace, rest = self.parse_known_args(args, namespace)
        unknown = [arg.partition("=")[0] for arg in rest if arg.startswith("-")]
        if unknown:
            hint = nearest(unknown[0], self._option_string_actions, f"`{self.prog} --help` shows the flags")
            raise UserError(f"unknown flag: {unknown[0]}; {hint}")
        if rest:
            self.error(f"unexpected argument: {rest[0]}")
        return namespace

    def _underscored(self, arg: str) -> str:
        name, equals, value = arg.partition("=")
        other = "--" + name[2:].replace("-", "_")
        known = self._option_string_actions
        return other + equals + value if name not in known and other in known else arg


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows `--name, --alias N` instead of `--name N, --alias N`, and in the usage line only what must be given."""

    def _format_usage(self, usage, actions, groups, prefix):
        needed = [action for action in actions if action.required]
        parts = [" ".join([*a.option_strings[:1], self._format_args(a, a.metavar or a.dest)]) for a in needed]
        return super()._format_usage(
            usage or " ".join(["%(prog)s", *parts, "[flags]"]), actions, groups, prefix
        )

    def _format_action_invocation(self, action):
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return (
            ", ".join(action.option_strings) + " " + self._format_args(action, action.metavar or action.dest)
        )


class StoreAsTyped(argparse.Action):
    """Stores a value under the name that was typed, for messages to name; of a name and its aliases the last wins."""

    def __call__(self, parser, namespace, values, option_string=None):
        for name in self.option_strings:
            vars(namespace).pop(name[2:], None)
        setattr(namespace, option_string[2:] if option_string else self.dest, values)


def add_settings(parser: Any, cls: type[Settings], file: bool = True) -> None:
    """Adds a flag for each field of the settings class, and --config FILE.yaml where `file`."""
    if file:
        parser.add_argument(
            "--config", metavar="FILE.yaml", help="the same settings as `name: value` lines; flags win"
        )
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        known, (kind, many, _) = option_of(field), unfold(hints[field.name])
        choices = "{" + ",".join(map(str, known.choices)) + "}" if known.choices else None
        parser.add_argument(
            *(f"--{name}" for name in (field.name, *known.aliases)),
            action=StoreAsTyped,
            default=argparse.SUPPRESS,  # only what was typed is in the namespace
            nargs="+" if many else "?" if kind is bool else None,
            const="true" if kind is bool else None,
            metavar=known.metavar or choices or METAVAR[kind],
            help=_help(field),
        )


def read_settings(cls: type[S], args: argparse.Namespace, file: bool = True) -> S:
    """An instance of the settings class: its defaults, then (where `file`) the YAML file of --config, then the flags.

    Raises:
        UserError: the file is missing or not a YAML mapping; an unknown key; a value that the option refuses.
    """
    values = {}
    if file and getattr(args, "config", None):
        values |= cls.read_values(read_yaml(args.config), where=f" in {args.config}")
    typed = {name: vars(args)[name] for name in cls.names() if name in vars(args)}
    return cls(**values | cls.read_values(typed, dashes="--"))


def _help(field: dataclasses.Field) -> str:
    text, default = option_of(field).help.replace("%", "%%"), field.default
    if default is None:
        return text
    return f"{text} (default: {str(default).lower() if isinstance(default, bool) else default})"
