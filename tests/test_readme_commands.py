"""The commands and Python of the READMEs are what they say: run where that is cheap, else checked to the last flag."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ernie_from_scratch as efs
from ernie_from_scratch.commands import main as frame
from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.command_line import parse

ROOT = Path(__file__).resolve().parents[1]
READMES = [path for path in (ROOT / "README.md", ROOT / "README.zh-CN.md") if path.exists()]
CHEAP = {"doctor", "vocab", "prepare", "inspect"}  # run as written, in order, on a small my_corpus.txt
SHORTER = {  # run as written with these flags added
    "pretrain": "--max_steps 2 --max_seq_len 32 --micro_batch_size 4 --device cpu",
    "finetune": "--num_train_epochs 1 --batch_size 4 --max_seq_len 32 --device cpu",
    "export": "",
}
CORPUS = "\n\n".join(
    f"哈尔滨是黑龙江的省会。\n第{n}条河流入大海，河上有{n}座桥。\n长江流入东海。" for n in range(40)
)


def blocks(path, language):
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)


def commands(path):
    """The command lines in the sh blocks, continued lines joined, comments taken off."""
    lines = "\n".join(blocks(path, "sh")).replace("\\\n", " ").splitlines()
    return [" ".join(words) for line in lines if (words := shlex.split(line, comments=True))]


def all_commands():
    return sorted({command for path in READMES for command in commands(path)})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the files that the README's reader brings along."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "my_corpus.txt").write_text(CORPUS, encoding="utf-8")
    rows = "".join(f"{n % 2}\t{('这家店很好', '这家店很差')[n % 2]}，第{n}次来。\n" for n in range(12))
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        (folder / name).write_text("label\ttext_a\n" + rows, encoding="utf-8")
    (folder / "run.yaml").write_text(
        "input_dir: prepared/mine\nconfig_name: tiny\noutput_dir: runs/again\nglobal_batch_size: 8\n"
    )
    return folder


def test_first_commands_are_the_two_of_make():
    for path in READMES:
        assert commands(path)[:2] == ["make run", "make test"], path.name


def test_the_chinese_readme_shows_nothing_else():
    english, chinese = READMES
    assert set(commands(chinese)) <= set(commands(english))
    assert statements(chinese) <= statements(english)


def statements(path):
    """The statements of the Python blocks, without comments."""
    return {ast.unparse(node) for block in blocks(path, "python") for node in ast.parse(block).body}


@pytest.mark.parametrize("command", [c for c in all_commands() if not c.startswith("ernie ")])
def test_other_commands_exist(command):
    words = command.split()
    if words[0] == "make":
        run = subprocess.run(
            [shutil.which("make"), "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
    else:
        assert words[0] in ("pip", "conda", "git", "cd", "python"), f"say how to check `{command}`"


def test_make_targets_named_in_the_text_exist():
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M).group(1).split()
    for path in READMES:
        named = set(re.findall(r"`make ([a-z-]+)", path.read_text(encoding="utf-8")))
        assert named and named <= set(targets), path.name


@pytest.mark.parametrize("command", [c for c in all_commands() if c.startswith("ernie ")])
def test_every_flag_is_known(command, home, monkeypatch):
    """The parser of the subcommand takes the line as it is written."""
    monkeypatch.chdir(home)
    _, name, *rest = shlex.split(command)
    assert name in frame.command_names()
    parse(f"ernie {name}", "", frame.load(name).SETTINGS, rest)


@pytest.mark.slow
def test_commands_run_one_after_another(home):
    """The README's shell session: the cheap lines as written, the training ones with fewer steps."""
    done = []
    for command in commands(READMES[0]):
        words = shlex.split(command)
        if words[0] == "ernie" and words[1] in CHEAP | SHORTER.keys() and "--gpus" not in words:
            extra = SHORTER.get(words[1], "").split()
            line = [sys.executable, "-m", "ernie_from_scratch", *words[1:], *extra]
            run = subprocess.run(line, cwd=home, capture_output=True, text=True)
            assert run.returncode == 0, f"{command}\n{run.stderr}"
            done.append(words[1])
    assert {"doctor", "vocab", "prepare", "pretrain"} <= set(done)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_python_blocks_use_names_that_exist(path):
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "efs":
                assert getattr(efs, node.attr) is not None


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_a_wrong_flag_would_be_noticed():
    with pytest.raises(UserError, match="unknown flag"):
        parse("ernie pretrain", "", frame.load("pretrain").SETTINGS, ["--max_step", "5"])
