"""Flags, YAML files and dataclasses of settings: one description of a setting serves all three.

A settings class is a dataclass whose fields carry metadata: `help`, and where wanted `aliases` (other names)
and `choices`. A command then needs three lines:

    def add_arguments(parser):
        add_settings(parser, PretrainSettings)

    def run(args):
        settings = read_settings(PretrainSettings, args)

`read_settings` starts from the defaults, lays the YAML file of --config over them and the flags over both.
Field types may be str, int, float, bool, pathlib.Path and lists of these, each also with `| None`.
"""

import argparse
import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable
from pathlib import Path

from ernie_from_scratch.config import UserError


def option(default, help, aliases=(), choices=None):
    """A dataclass field that carries its own help text, other names and allowed values for the command line."""
    return dataclasses.field(
        default=default, metadata={"help": help, "aliases": tuple(aliases), "choices": choices}
    )


TRUE, FALSE, NONE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}, {"none", "null", ""}
METAVAR = {bool: "true|false", int: "N", float: "X", str: "TEXT", Path: "PATH"}
EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    """`did you mean X?`, or `otherwise` when nothing known is close to `name`."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else otherwise


class Parser(argparse.ArgumentParser):
    """ArgumentParser whose mistakes are one-line UserErrors; it takes --max-seq-len for --max_seq_len."""

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=Formatter, **kwargs)

    def error(self, message):
        raise UserError(f"{message}; `{self.prog} --help` shows the flags")

    def parse_args(self, args=None, namespace=None):
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


def add_settings(parser: argparse.ArgumentParser, cls: type, file: bool = True) -> None:
    """Adds a flag for each field of the settings class, and --config FILE.yaml where `file`."""
    if file:
        parser.add_argument(
            "--config", metavar="FILE.yaml", help="the same settings as `name: value` lines; flags win"
        )
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kind, many, _ = unfold(hints[field.name])
        choices = field.metadata.get("choices")
        parser.add_argument(
            *(f"--{name}" for name in names_of(field)),
            dest=field.name,
            default=argparse.SUPPRESS,  # only what was typed is in the namespace
            nargs="+" if many else "?" if kind is bool else None,
            const="true" if kind is bool else None,
            metavar="{" + ",".join(map(str, choices)) + "}" if choices else METAVAR[kind],
            help=_help(field),
        )


def read_settings(cls: type, args: argparse.Namespace, file: bool = True):
    """An instance of the settings class: its defaults, then (where `file`) the YAML file of --config, then the flags.

    Raises:
        UserError: the file is missing or not a YAML mapping; an unknown key; a value of a wrong type.
    """
    values = {}
    if file and getattr(args, "config", None):
        values |= from_mapping(cls, read_yaml(args.config), where=f" in {args.config}")
    typed = {f.name: getattr(args, f.name) for f in dataclasses.fields(cls) if f.name in vars(args)}
    values |= from_mapping(cls, typed, dashes="--")
    missing = [f.name for f in dataclasses.fields(cls) if _required(f) and f.name not in values]
    if missing:
        raise UserError(f"--{missing[0]} is missing: {_help_text(cls, missing[0])}; give the flag")
    return cls(**values)


def from_mapping(cls: type, mapping: dict, where: str = "", dashes: str = "") -> dict:
    """The mapping with aliases turned into field names and values into the fields' types.

    Raises:
        UserError: an unknown key, a key given under two names, or a value of a wrong type.
    """
    fields = {name: field for field in dataclasses.fields(cls) for name in names_of(field)}
    hints = typing.get_type_hints(cls)
    values, names = {}, {}
    for name, value in mapping.items():
        if name not in fields:
            hint = nearest(str(name), fields, "known are " + ", ".join(hints))
            raise UserError(f"unknown key: {name}{where}; {hint}")
        field = fields[name]
        if field.name in values:
            raise UserError(f"given twice: {names[field.name]} and {name}{where}; keep one")
        try:
            values[field.name] = convert(value, hints[field.name], field.metadata.get("choices"))
        except ValueError as expected:
            shown = "an empty value" if value is None else repr(value)
            raise UserError(f"wrong value: {dashes}{name} is {shown}{where}; give {expected}") from None
        names[field.name] = name
    return values


def convert(value, hint, choices=None):
    """`value` (from YAML, or the text of a flag) as the annotated type; ValueError says what was expected."""
    kind, many, optional = unfold(hint)
    if optional and (value is None or (isinstance(value, str) and value.lower() in NONE)):
        return None
    if many:
        items = value if isinstance(value, list) else [value]
        return [_single(item, kind, choices) for item in items]
    return _single(value, kind, choices)


def _single(value, kind, choices):
    expected = EXPECTED[kind]
    if choices:
        expected = f"one of {', '.join(map(str, choices))}"
    if value is None or isinstance(value, (list, dict)):
        raise ValueError(expected)
    text = str(value).strip()
    try:
        if kind is bool:
            value = {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}[text.lower()]
        elif isinstance(value, bool):  # YAML's yes, no, on and off where no bool is meant
            raise ValueError
        elif kind is int:
            value = _whole(text)
        elif kind is float:
            value = float(text)
        else:
            value = kind(value)
    except (ValueError, KeyError):
        raise ValueError(expected) from None
    if choices and value not in choices:
        raise ValueError(f"{expected} ({nearest(text, map(str, choices), 'nothing near')})")
    return value


def _whole(text: str) -> int:
    """int of "200000", "200_000" and "2e5" (YAML reads the last as text)."""
    try:
        return int(text)
    except ValueError:
        if not float(text).is_integer():
            raise
        return int(float(text))


def unfold(hint) -> tuple[type, bool, bool]:
    """(type of one value, whether a list of them, whether None is allowed) of an annotation."""
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        optional = len(inner) < len(typing.get_args(hint))
        if len(inner) != 1:
            raise TypeError(f"a setting has one type, or one type and None: {hint}")
        hint = inner[0]
    if typing.get_origin(hint) is list:
        return typing.get_args(hint)[0], True, optional
    if hint not in METAVAR:
        raise TypeError(f"no flag can be made of {hint}")
    return hint, False, optional


def names_of(field: dataclasses.Field) -> tuple[str, ...]:
    return (field.name, *(field.metadata.get("aliases") or ()))


def read_yaml(path) -> dict:
    """The mapping in a YAML file.

    Raises:
        UserError: no such file, not UTF-8, not YAML, or not a mapping.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the settings: {path}; {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"not UTF-8: {path}; save the settings as UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"not YAML: {path}{line}; write one `name: value` a line") from None
    if not isinstance(content, dict | None):
        raise UserError(f"no settings: {path}; write one `name: value` a line")
    return content or {}


def _required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _help_text(cls: type, name: str) -> str:
    return next(f.metadata.get("help", name) for f in dataclasses.fields(cls) if f.name == name)


def _help(field: dataclasses.Field) -> str:
    text = field.metadata.get("help", "").replace("%", "%%")
    default = field.default
    if default is dataclasses.MISSING or default is None:
        return text
    return f"{text} (default: {str(default).lower() if isinstance(default, bool) else default})"
