"""Settings: dataclasses whose fields are options, described once for Python, YAML files and the command line.

    @dataclass
    class TrainSettings(Settings):
        output_dir: str = option(REQUIRED, "run folder", path=True)
        max_lr: float = option(1e-4, "highest learning rate", aliases=("learning_rate",), above=0)

    TrainSettings(output_dir="runs/a").check()                                    # field names
    TrainSettings.from_mapping({"output_dir": "runs/a", "learning_rate": 1e-3})   # or aliases; types are checked

A subclass gives an inherited option another default without repeating the rest: `max_lr: float = inherit(default=1)`;
an option of any other class is taken over by `max_lr: float = inherit(TrainSettings)`. The default of an option is
an attribute of its class, so a function that takes the same argument has `max_lr: float = TrainSettings.max_lr`.
Field types may be str, int, float, bool, pathlib.Path and lists of these, each also with `| None`.
utils/command_line.py makes the flags.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ernie_from_scratch.config import UserError

S = TypeVar("S", bound="Settings")
REQUIRED = dataclasses.MISSING  # as the default of an option: `check()` refuses settings without a value
TRUE, FALSE, NONE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}, {"none", "null", ""}
EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
BOUNDS = (  # property of an option, whether a value is inside, how the message puts it
    ("minimum", lambda value, bound: value >= bound, "at least"),
    ("above", lambda value, bound: value > bound, "above"),
    ("maximum", lambda value, bound: value <= bound, "at most"),
    ("below", lambda value, bound: value < bound, "below"),
)


@dataclass(frozen=True)
class Option:
    """What is known of one setting besides its name, type and default."""

    help: str
    aliases: tuple[str, ...] = ()  # other names, accepted wherever settings are read
    choices: tuple | None = None  # the only values
    minimum: float | None = None  # bounds of the value, or of each item of a list; None has none
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    resumable: bool = False  # may differ when a run is resumed: it doesn't decide the run's result
    path: bool = False  # names a file or folder, which may differ between machines
    required: bool = False
    group: str = ""  # heading in --help
    positional: bool = False  # an argument without --name on the command line
    metavar: str | None = None  # the value in --help; default: by the type


def option(default: Any, help: str, **properties: Any) -> Any:
    """A dataclass field with an `Option`; `properties` are the option's. REQUIRED as the default: there is none."""
    required = default is REQUIRED
    return dataclasses.field(
        default=None if required else default,
        metadata={"option": Option(help, required=required, **properties)},
    )


@dataclass(frozen=True)
class _Inherited:
    source: "type[Settings] | None"
    changes: dict[str, Any]


def inherit(source: "type[Settings] | None" = None, **changes: Any) -> Any:
    """The option of the same name in the base class or in `source`, with the changes; aliases are added to its own."""
    return _Inherited(source, changes)


@dataclass
class Settings:
    """Base of all settings classes."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in list(vars(cls).items()):
            if isinstance(value, _Inherited):
                sources = [value.source] if value.source else cls.__mro__[1:]
                fields = [vars(source).get("__dataclass_fields__", {}).get(name) for source in sources]
                base = next(filter(None, fields), None)
                if base is None:
                    raise TypeError(f"{cls.__name__}: no option {name} to inherit")
                changes = {**vars(option_of(base)), **value.changes}
                changes["aliases"] = (*option_of(base).aliases, *value.changes.get("aliases", ()))
                default = REQUIRED if changes.pop("required") else base.default
                setattr(cls, name, option(changes.pop("default", default), **changes))

    @classmethod
    def from_mapping(cls: type[S], mapping: dict[str, Any], where: str = "") -> S:
        """Settings from names (or aliases) and values, such as a YAML file has.

        Raises:
            UserError: an unknown key (with the nearest one), a key given under two names, or a value of a wrong type,
                none of the choices or out of bounds.
        """
        return cls(**cls.read_values(mapping, where))

    @classmethod
    def read_values(cls, mapping: dict[str, Any], where: str = "", dashes: str = "") -> dict[str, Any]:
        """The mapping with aliases turned into field names, and values into the fields' types; see `from_mapping`.

        Args:
            where: end of the error messages, such as " in run.yaml".
            dashes: what stands before a name in messages, such as "--".
        """
        fields, hints = cls.names(), typing.get_type_hints(cls)
        values, given = {}, {}
        for name, value in mapping.items():
            if name not in fields:
                hint = nearest(str(name), fields, "known are " + ", ".join(hints))
                raise UserError(f"unknown key: {name}{where}; {hint}")
            field = fields[name]
            if field.name in values:
                raise UserError(f"given twice: {given[field.name]} and {name}{where}; keep one")
            values[field.name] = _converted(field, hints[field.name], value, f"{dashes}{name}", where)
            given[field.name] = name
        return values

    @classmethod
    def names(cls) -> dict[str, dataclasses.Field]:
        """The fields by their names and aliases."""
        return {
            name: field
            for field in dataclasses.fields(cls)
            for name in (field.name, *option_of(field).aliases)
        }

    def check(self: S) -> S:
        """Convert each value to its type and refuse what can't work; subclasses add what concerns several options.

        Raises:
            UserError: a required value is missing, has a wrong type, is none of the choices or out of bounds.
        """
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value, known, name = getattr(self, field.name), option_of(field), flag_of(field)
            if known.required and (value is None or value in ("", [])):
                raise UserError(f"{name} is missing: {known.help}; give it")
            if value is not None or field.default is not None:
                setattr(self, field.name, _converted(field, hints[field.name], value, name))
        return self

    def to_dict(self) -> dict[str, Any]:
        """Field names and values, as YAML files hold them."""
        return dataclasses.asdict(self)

    def to_yaml(self) -> str:
        """The text of a YAML file that `read_yaml` reads back."""
        import yaml

        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    def subset(self, cls: type[S]) -> S:
        """The values of the options that `cls`, a base class, has."""
        return cls(**{field.name: getattr(self, field.name) for field in dataclasses.fields(cls)})

    def differences(self, earlier: dict[str, Any]) -> dict[str, Any]:
        """The options that decide a result and were different in `earlier`, with their values there.

        Args:
            earlier: names or aliases with values, as an earlier `to_dict()` gave them; what is not in it, or not
                known any more, is no difference.
        """
        fields = self.names()
        before = {fields[name].name: value for name, value in earlier.items() if name in fields}
        return {
            field.name: before[field.name]
            for field in dataclasses.fields(self)
            if not option_of(field).resumable
            and field.name in before
            and before[field.name] != getattr(self, field.name)
        }


def option_of(field: dataclasses.Field) -> Option:
    """The `Option` of a field of a settings class."""
    return field.metadata["option"]


def flag_of(field: dataclasses.Field) -> str:
    """How the command line and messages name the field: `--name`, or NAME where it is positional."""
    known = option_of(field)
    return (known.metavar or field.name.upper()) if known.positional else f"--{field.name}"


def _converted(field: dataclasses.Field, hint: Any, value: Any, name: str, where: str = "") -> Any:
    """The value in the field's type and within its bounds; UserError names it as `name`."""
    known = option_of(field)
    try:
        value = convert(value, hint, known.choices)
    except ValueError as expected:
        shown = "an empty value" if value is None else repr(value)
        raise UserError(f"wrong value: {name} is {shown}{where}; give {expected}") from None
    bounds = [(getattr(known, key), inside, words) for key, inside, words in BOUNDS]
    bounds = [bound for bound in bounds if bound[0] is not None]
    for item in value if isinstance(value, list) else [value]:
        if item is not None and not all(inside(item, bound) for bound, inside, _ in bounds):
            limits = " and ".join(f"{words} {bound}" for bound, _, words in bounds)
            raise UserError(f"{name} is {item}{where}; it must be {limits}")
    return value


def convert(value: Any, hint: Any, choices: tuple | None = None) -> Any:
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
            value = _integer(text)
        elif kind is float:
            value = float(text)
        else:
            value = kind(value)
    except (ValueError, KeyError):
        raise ValueError(expected) from None
    if choices and value not in choices:
        raise ValueError(f"{expected} ({nearest(text, map(str, choices), 'nothing near')})")
    return value


def _integer(text: str) -> int:
    """int of "200000", "200_000" and "2e5" (YAML reads the last as text)."""
    try:
        return int(text)
    except ValueError:
        if not float(text).is_integer():
            raise
        return int(float(text))


def unfold(hint: Any) -> tuple[type, bool, bool]:
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
    if hint not in EXPECTED:
        raise TypeError(f"no setting can be of type {hint}")
    return hint, False, optional


def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    """`did you mean X?`, or `otherwise` when nothing known is close to `name`."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else otherwise


def read_yaml(path: str | Path) -> dict[str, Any]:
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
