"""The command line of settings classes: a flag for each option, `--config FILE.yaml`, and one-line mistakes.

    (settings,) = parse("ernie export", "Export a model.", ExportSettings, arguments)
    settings.check()

`parse` starts from the defaults, lays the YAML file of --config over them and the flags over both.
"""

import argparse
import dataclasses
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.settings import (
    FALSE,
    TRUE,
    S,
    Settings,
    flag_of,
    nearest,
    option_of,
    read_yaml,
    unfold,
)

METAVAR = {bool: "true|false", int: "N", float: "X", str: "TEXT", Path: "PATH"}


class Parser(argparse.ArgumentParser):
    """ArgumentParser whose mistakes are one-line UserErrors; it takes --max-seq-len for --max_seq_len."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, formatter_class=Formatter, **kwargs)
        self.groups: dict[str, Any] = {}  # by their headings

    def error(self, message: str) -> typing.NoReturn:
        raise UserError(f"{message}; `{self.prog} --help` shows the flags")

    def parse_args(self, args: Sequence[str], namespace: Any = None) -> argparse.Namespace:  # pyright: ignore
        args = self._separated([self._underscored(arg) for arg in args])
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

    def _separated(self, args: list[str]) -> list[str]:
        """A bare boolean flag must not take the positional argument after it for its value."""
        if not self._get_positional_actions():
            return args
        bare = {name for name, action in self._option_string_actions.items() if action.const}
        pairs = zip(args, [*args, ""][1:], strict=True)
        return [
            f"{arg}=true" if arg in bare and after.lower() not in TRUE | FALSE else arg
            for arg, after in pairs
        ]


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows `--name, --alias N` instead of `--name N, --alias N`, and in the usage line only what must be given."""

    def _format_usage(self, usage, actions, groups, prefix):
        needed = [action for action in actions if action.required or getattr(action, "needed", False)]
        parts = [" ".join([*action.option_strings[:1], self._value(action)]) for action in needed]
        return super()._format_usage(
            usage or " ".join(["%(prog)s", *parts, "[flags]"]), actions, groups, prefix
        )

    def _format_action_invocation(self, action):
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return ", ".join(action.option_strings) + " " + self._value(action)

    def _value(self, action) -> str:
        metavar = str(action.metavar or action.dest)
        if action.option_strings:
            return self._format_args(action, metavar)
        return f"{metavar} ..." if action.nargs == "*" else metavar


class StoreAsTyped(argparse.Action):
    """Stores a value under the name that was typed, for messages to name; of a name and its aliases the last wins."""

    def __call__(self, parser, namespace, values, option_string=None):
        for name in self.option_strings:
            vars(namespace).pop(name[2:], None)
        setattr(namespace, option_string[2:] if option_string else self.dest, values)


def parse(
    prog: str,
    description: str,
    classes: type[Settings] | tuple[type[Settings], ...],
    arguments: Sequence[str],
) -> list[Settings]:
    """An instance of each settings class from the command line; a --config file gives those of the first.

    Raises:
        UserError: see `read_settings`.
        SystemExit: --help has been printed.
    """
    classes = classes if isinstance(classes, tuple) else (classes,)
    parser = Parser(prog=prog, description=description)
    for cls in classes:
        add_settings(parser, cls, file=cls is classes[0])
    values = parser.parse_args(arguments)
    return [read_settings(cls, values, file=cls is classes[0]) for cls in classes]


def add_settings(parser: Parser, cls: type[Settings], file: bool = True) -> None:
    """Adds a flag for each field of the settings class, under the headings of their groups, and --config FILE.yaml.

    Required ones come first. Without --config where `file` is false, or where the class has an option of that name.
    """
    if file and "config" not in cls.names():
        parser.add_argument(
            "--config", metavar="FILE.yaml", help="the same settings as `name: value` lines; flags win"
        )
    hints = typing.get_type_hints(cls)
    for field in sorted(dataclasses.fields(cls), key=lambda field: not option_of(field).required):
        known, (kind, many, _) = option_of(field), unfold(hints[field.name])
        if known.group and known.group not in parser.groups:
            parser.groups[known.group] = parser.add_argument_group(known.group)
        names = [f"--{name}" for name in (field.name, *known.aliases)]
        if known.positional:
            names, nargs = [field.name], "*" if many else "?"
        else:
            nargs = "+" if many else "?" if kind is bool else None
        choices = "{" + ",".join(map(str, known.choices)) + "}" if known.choices else None
        action = parser.groups.get(known.group, parser).add_argument(
            *names,
            action=StoreAsTyped,
            default=argparse.SUPPRESS,  # only what was typed is in the namespace
            nargs=nargs,
            const="true" if kind is bool else None,
            metavar=known.metavar
            or (flag_of(field) if known.positional else choices)
            or ("PATH" if known.path else METAVAR[kind]),
            help=_help(field),
        )
        action.needed = known.required  # not by argparse, which doesn't see what the YAML file gives


def read_settings(cls: type[S], args: argparse.Namespace, file: bool = True) -> S:
    """An instance of the settings class: its defaults, then (where `file`) the YAML file of --config, then the flags.

    Raises:
        UserError: the file is missing or not a YAML mapping; an unknown key; a value that the option refuses.
    """
    values = {}
    if file and "config" not in cls.names() and getattr(args, "config", None):
        values |= cls.read_values(read_yaml(args.config), where=f" in {args.config}")
    typed = {name: vars(args)[name] for name in cls.names() if name in vars(args)}
    return cls(**values | cls.read_values(typed, dashes="--"))


def _help(field: dataclasses.Field) -> str:
    text, default = option_of(field).help.replace("%", "%%"), field.default
    if default is None:
        return text
    return f"{text} (default: {str(default).lower() if isinstance(default, bool) else default})"
