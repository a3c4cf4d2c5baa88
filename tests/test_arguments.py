"""Flags and YAML files become settings, and a wrong one is named in one line."""

import textwrap
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.command_line import Parser, add_settings, parse, read_settings
from ernie_from_scratch.utils.settings import REQUIRED, Settings, inherit, option, option_of


@dataclass
class Run(Settings):
    input_dir: Path = option(REQUIRED, "prepared corpora", path=True)
    max_seq_len: int = option(512, "longest row", minimum=1)
    max_lr: float = option(1e-4, "100% of the rate", aliases=("learning_rate",), above=0)
    use_amp: bool = option(False, "mixed precision")
    masking: str = option("word", "unit", choices=("char", "word", "entity"))
    gpus: list[int] | None = option(None, "devices", minimum=0)
    decay_steps: int | None = option(None, "steps", resumable=True)


@dataclass
class ShortRun(Run):
    output_dir: str = option("runs", "folder")
    max_seq_len: int = inherit(default=128, aliases=("max_seq_length",), minimum=4)
    input_dir: Path = inherit(default=Path("here"))
    decay_steps: int = inherit(default=REQUIRED)


def settings(line, **kwargs):
    parser = Parser(prog="ernie pretrain", **kwargs)
    add_settings(parser, Run)
    return read_settings(Run, parser.parse_args(line.split())).check()


# Flags


def test_defaults_and_typed_values():
    assert settings("--input_dir d") == Run(Path("d"))
    given = settings(
        "--input_dir d --max_seq_len=128 --max_lr 1e-3 --masking entity --gpus 0 1 --decay_steps 2e5"
    )
    assert given == Run(Path("d"), 128, 1e-3, False, "entity", [0, 1], 200_000)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("--use_amp", True),
        ("--use_amp true", True),
        ("--use_amp=True", True),
        ("--use_amp 1", True),
        ("--use_amp false", False),
        ("--use_amp False", False),
        ("--use_amp=no", False),
        ("--use_amp --max_seq_len 8", True),
        ("", False),
    ],
)
def test_booleans_bare_and_with_a_value(text, value):
    assert settings(f"--input_dir d {text}").use_amp is value


def test_other_names_and_dashes():
    assert settings("--input-dir d --learning_rate 0.5 --max-seq-len=7").max_lr == 0.5
    assert settings("--input-dir d --max-seq-len=7").max_seq_len == 7
    assert settings("--input_dir a-b --decay_steps none") == Run(Path("a-b"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--input_dir d --max_seq_length 8", "unknown flag: --max_seq_length; did you mean --max_seq_len?"),
        ("--input_dir d --max_seq_length=8", "unknown flag: --max_seq_length; did you mean --max_seq_len?"),
        ("--input_dir d --zzz", "unknown flag: --zzz; `ernie pretrain --help` shows the flags"),
        (
            "--input_dir d --max_seq 8",
            "unknown flag: --max_seq; did you mean --max_seq_len?",
        ),  # no abbreviations
        ("--input_dir d stray", "unexpected argument: stray"),
        ("--input_dir d --max_seq_len 1.5", "--max_seq_len is '1.5'; give a whole number"),
        ("--input_dir d --max_seq_len nan", "--max_seq_len is 'nan'; give a whole number"),
        ("--input_dir d --max_seq_len inf", "--max_seq_len is 'inf'; give a whole number"),
        ("--input_dir d --max_lr high", "--max_lr is 'high'; give a number"),
        ("--input_dir d --use_amp maybe", "--use_amp is 'maybe'; give true or false"),
        ("--input_dir d --masking wrod", "give one of char, word, entity (did you mean word?)"),
        ("--input_dir d --gpus 0 x", "--gpus is ['0', 'x']; give a whole number"),
        ("--input_dir", "expected one argument"),
        ("--input_dir d --max_seq_len 0", "--max_seq_len is 0; it must be at least 1"),
        ("--input_dir d --learning_rate 0", "--learning_rate is 0.0; it must be above 0"),
        ("--input_dir d --max_lr nan", "--max_lr is nan; it must be above 0"),
        ("--input_dir d --gpus 0 -1", "--gpus is -1; it must be at least 0"),
        ("--input_dir d --learning_rate high", "--learning_rate is 'high'; give a number"),
        ("", "--input_dir is missing: prepared corpora"),
    ],
)
def test_wrong_flags_are_named(line, message):
    with pytest.raises(UserError) as caught:
        settings(line)
    assert message in str(caught.value) and "\n" not in str(caught.value)


# YAML files


def yaml_settings(tmp_path, text, line=""):
    path = tmp_path / "run.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return settings(f"--config {path} {line}")


def test_flags_win_over_yaml_and_yaml_over_defaults(tmp_path):
    text = "input_dir: d\nmax_seq_len: 64\nlearning_rate: 1e-3\nuse_amp: yes\ngpus: [0, 1]\n"
    merged = yaml_settings(tmp_path, text, "--max_seq_len 32 --use_amp false")
    assert merged == Run(Path("d"), 32, 1e-3, False, "word", [0, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input_dir: d\nmax_seq_length: 8", "unknown key: max_seq_length in"),
        ("input_dir: d\nmax_seq_length: 8", "did you mean max_seq_len?"),
        ("input_dir: d\nmax_seq_len: long", "max_seq_len is 'long' in"),
        ("input_dir: d\nmax_seq_len: true", "max_seq_len is True in"),
        ("input_dir: d\nmax_seq_len: [1]", "max_seq_len is [1] in"),
        ("input_dir: d\nmax_seq_len:", "max_seq_len is an empty value in"),
        ("input_dir: d\nuse_amp: 2", "give true or false"),
        ("input_dir: d\nmasking: no", "give one of char, word, entity"),
        ("input_dir: d\nmax_lr: 1\nlearning_rate: 2", "given twice: max_lr and learning_rate in"),
        ("input_dir: d\nlearning_rate: 0", "learning_rate is 0.0 in"),
        ("input_dir: d\n1: 2", "unknown key: 1 in"),
        ("- input_dir", "no settings:"),
        ("max_lr: [", "not YAML:"),
        ("input_dir: d\n\tmax_lr: 1", "not YAML:"),
    ],
)
def test_wrong_yaml_is_named(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        yaml_settings(tmp_path, text)
    assert message in str(caught.value) and "run.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_yaml_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot read the settings: .*none.yaml; No such file"):
        settings(f"--config {tmp_path / 'none.yaml'}")
    with pytest.raises(UserError, match="cannot read the settings"):
        settings(f"--config {tmp_path}")
    (tmp_path / "latin.yaml").write_bytes("input_dir: é".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        settings(f"--config {tmp_path / 'latin.yaml'}")


def test_empty_yaml_file_means_defaults(tmp_path):
    assert yaml_settings(tmp_path, "# nothing yet\n", "--input_dir d") == Run(Path("d"))


def test_a_field_type_that_is_no_setting_is_a_bug_not_a_user_error():
    @dataclass
    class Odd(Settings):
        pair: dict = option(None, "two")

    with pytest.raises(TypeError, match="no setting can be of type"):
        add_settings(Parser(prog="x"), Odd)
    with pytest.raises(TypeError):
        Odd.from_mapping({"pair": {}})


def test_help_shows_names_values_and_defaults(capsys):
    parser = Parser(prog="ernie pretrain", description="Examples:\n  ernie pretrain --input_dir d")
    add_settings(parser, Run)
    parser.print_help()
    out = " ".join(capsys.readouterr().out.split())
    assert "--max_lr, --learning_rate X 100% of the rate (default: 0.0001)" in out
    assert "{char,word,entity}" in out and "[true|false]" in out and "(default: false)" in out
    assert "Examples: ernie pretrain --input_dir d" in out


def test_usage_line_shows_what_must_be_given():
    parser = Parser(prog="ernie prepare")
    parser.add_argument("prefix", metavar="PREFIX")
    parser.add_argument("--input", required=True, metavar="FILE")
    parser.add_argument("--seed")
    assert parser.format_usage() == "usage: ernie prepare PREFIX --input FILE [flags]\n"


# From Python


def test_mappings_know_aliases_and_types():
    made = Run.from_mapping({"input_dir": "d", "learning_rate": "1e-3", "gpus": 1})
    assert made == Run(Path("d"), max_lr=1e-3, gpus=[1])
    with pytest.raises(UserError, match="unknown key: max_sq_len; did you mean max_seq_len?"):
        Run.from_mapping({"max_sq_len": 8})


def test_check_converts_and_refuses_what_keywords_brought():
    checked = Run(input_dir="d", max_seq_len="64", max_lr=1).check()
    assert checked == Run(Path("d"), 64, 1.0) and isinstance(checked.max_lr, float)
    for wrong, message in [
        (dict(), "--input_dir is missing: prepared corpora"),
        (dict(input_dir="d", max_seq_len=0), "--max_seq_len is 0; it must be at least 1"),
        (dict(input_dir="d", max_seq_len=None), "--max_seq_len is an empty value"),
        (dict(input_dir="d", masking="wrod"), "did you mean word?"),
    ]:
        with pytest.raises(UserError) as caught:
            Run(**wrong).check()
        assert message in str(caught.value)


def test_all_bounds():
    @dataclass
    class Bounded(Settings):
        share: float = option(0.5, "share", minimum=0, below=1)
        count: int = option(1, "count", above=0, maximum=3)

    for share, count in [(0, 1), (0.99, 3)]:
        Bounded(share, count).check()
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(UserError, match="--share is .*; it must be at least 0 and below 1"):
            Bounded(share=share).check()
    for count in (0, 4):
        with pytest.raises(UserError, match="--count is .; it must be above 0 and at most 3"):
            Bounded(count=count).check()


def test_a_subclass_changes_only_what_it_names():
    options = {field.name: option_of(field) for field in fields(ShortRun)}
    short = ShortRun.from_mapping({"max_seq_length": 8, "decay_steps": 5}).check()
    assert (short.max_seq_len, short.input_dir, short.output_dir) == (8, Path("here"), "runs")
    assert ShortRun().max_seq_len == 128 and options["max_seq_len"].help == "longest row"
    assert options["decay_steps"].resumable and options["input_dir"].path
    with pytest.raises(UserError, match="--decay_steps is missing"):
        ShortRun().check()
    with pytest.raises(UserError, match="at least 4"):
        ShortRun(decay_steps=5, max_seq_len=3).check()
    assert Run(Path("d")).max_seq_len == 512  # the base class is as it was
    with pytest.raises(UserError, match="unknown key: max_seq_length"):
        Run.from_mapping({"max_seq_length": 8})


def test_inheriting_what_is_not_there_is_a_bug():
    with pytest.raises(TypeError, match="max_sequence"):

        @dataclass
        class Odd(Run):
            max_sequence: int = inherit(default=1)


def test_differences_between_a_run_and_its_continuation():
    now = ShortRun(Path("d"), max_seq_len=64, max_lr=0.5, decay_steps=7)
    assert now.differences(now.to_dict()) == {}
    earlier = {"max_seq_length": 32, "learning_rate": 0.5, "decay_steps": 1, "dropped_since": 3}
    assert now.differences(earlier) == {"max_seq_len": 32}


# Positional arguments and groups


@dataclass
class Check(Settings):
    prefix: str = option(REQUIRED, "files", positional=True, path=True)
    verify: bool = option(False, "checksums too", group="how")
    seed: int = option(0, "which", group="how")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a/b", ("a/b", False, 0)),
        ("--verify a/b", ("a/b", True, 0)),  # the flag leaves the positional argument alone
        ("--verify true a/b", ("a/b", True, 0)),
        ("--verify=no a/b --seed 1", ("a/b", False, 1)),
        ("--seed 1 --verify -- -a", ("-a", True, 1)),
    ],
)
def test_bare_booleans_before_positional_arguments(line, expected):
    (found,) = parse("ernie inspect", "", Check, line.split())
    assert found.check() == Check(*expected)


def test_missing_positional_argument_is_named():
    with pytest.raises(UserError, match="^PREFIX is missing: files"):
        parse("ernie inspect", "", Check, ["--verify"])[0].check()


def test_help_shows_groups_and_what_is_required(capsys):
    with pytest.raises(SystemExit):
        parse("ernie inspect", "", (Check, ShortRun), ["--help"])
    out = capsys.readouterr().out
    assert out.startswith("usage: ernie inspect PREFIX --decay_steps N [flags]\n")
    assert "\nhow:\n  --verify [true|false]" in out and out.index("--config") < out.index("how:")
