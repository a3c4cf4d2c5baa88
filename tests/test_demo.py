"""`ernie demo`: all stages on a small scale, own text, and bad input."""

import json
import os
import signal
import subprocess
import sys

import pytest
import slow_ernie
from process_helpers import HANG_SECONDS, start, wait_until

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.experiments.demo import pretraining

SMALL = ["--facts", "40", "--sentences", "600", "--steps", "40", "--probes", "10"]
# `ernie demo` with a shorter fine-tuning; the first argument, if not empty, is the program that pretrains
DEMO = """
import subprocess, sys
from ernie_from_scratch.commands.main import main
from ernie_from_scratch.experiments import training_processes
from ernie_from_scratch.experiments.demo import sentiment
sentiment.SEEDS = (1, 2)
sentiment.FINETUNING["num_train_epochs"] = 1
program = sys.argv.pop(1)
class Pretraining(subprocess.Popen):
    def __init__(self, command, **options):  # python -m ernie_from_scratch pretrain ...
        super().__init__([command[0], program, *command[3:]], **options)
if program:
    training_processes.subprocess.Popen = Pretraining
sys.exit(main())
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small demo that is interrupted once in its pretraining and called again."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    command = [
        sys.executable,
        "-c",
        DEMO,
        str(slow_ernie.SCRIPT),
        "demo",
        *SMALL,
        "--output_dir",
        str(folder),
    ]
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_until((folder / "pretrain_char" / "metrics.jsonl").exists, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 130 and not (folder / "stages" / "pretrain.json").exists()
    command[3] = ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_all_stages(finished):
    folder, said = finished
    results = {file.stem: json.loads(file.read_text()) for file in (folder / "stages").iterdir()}
    assert list(results) and set(results) == set(
        "recipe vocabulary prepare pretrain cloze finetune export serve report".split()
    )
    assert "done before" in said and "ernie demo" in said
    assert len(set(results["pretrain"]["tokens"].values())) == 1  # both maskings have read the same tokens
    assert {(r["masking"], r["probes"], r["strategy"]) for r in results["cloze"]["rows"]} == {
        (masking, probes, strategy)
        for masking in ("entity", "char")
        for probes in ("seen sentences", "unseen combinations", "differently worded")
        for strategy in ("all_at_once", "left_to_right")
    }
    assert results["serve"]["exit_code"] == 0 and len(results["serve"]["answers"]) == 3
    assert results["export"]["max_difference"] < 1e-4


def test_the_report_is_one_page_with_its_pictures(finished):
    page = (finished[0] / "report.html").read_text(encoding="utf8")
    assert page.count("data:image/png;base64,") >= 8 and "http://" not in page.split("<body")[0]
    assert (finished[0] / "cloze.png").stat().st_size > 10_000


def test_runs_differ_in_masking_only(finished):
    settings = [
        pretraining.PretrainSettings(**load_yaml(finished[0] / f"pretrain_{m}" / "config.yaml"))
        for m in ("entity", "char")
    ]
    assert list(settings[0].differences(settings[1].to_dict())) == ["masking", "mask_schedule"]


def load_yaml(file):
    import yaml

    return yaml.safe_load(file.read_text(encoding="utf8"))


def run(capsys, *flags):
    """(exit code, stderr lines) of `ernie demo FLAGS` in this process."""
    code = main(["demo", *map(str, flags)])
    return code, [line for line in capsys.readouterr().err.splitlines() if line]


def bad_text(folder, kind):
    path = folder / "text.txt"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "binary":
        path.write_bytes(bytes(range(256)) * 40)
    elif kind == "GBK":
        path.write_bytes("哈尔滨是黑龙江的省会。\n".encode("gbk") * 50)
    elif kind == "folder without text":
        path = folder / "folder"
        path.mkdir()
        (path / "picture.png").write_bytes(b"\x89PNG")
    elif kind == "truncated .gz":
        import gzip

        path = folder / "text.txt.gz"
        path.write_bytes(gzip.compress("哈尔滨是黑龙江的省会。\n".encode() * 5000, mtime=0)[:-60])
    return path


@pytest.mark.parametrize(
    "kind", ["missing", "empty", "binary", "GBK", "folder without text", "truncated .gz"]
)
def test_bad_text_is_one_line(tmp_path, capsys, kind):
    path = bad_text(tmp_path, kind)
    code, lines = run(capsys, "--text", path, "--output_dir", tmp_path / "run")
    assert code == 2 and len(lines) == 1 and lines[0].startswith("error: ") and path.stem in lines[0]


def test_unwritable_output_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, lines = run(capsys, *SMALL, "--output_dir", tmp_path / "file" / "run")
    assert code == 2 and len(lines) == 1 and "cannot write" in lines[0]


def test_a_folder_of_another_demo_is_one_line(finished, capsys):
    before = sorted(os.listdir(finished[0]))
    code, lines = run(capsys, *SMALL[:-1], "11", "--output_dir", finished[0])
    assert code == 2 and len(lines) == 1 and "probes was 10 and is now 11" in lines[0]
    assert sorted(os.listdir(finished[0])) == before


@pytest.mark.parametrize("flags", [["--facts", "3"], ["--steps", "many"], ["--stepz", "40"]])
def test_bad_flags_are_one_line(tmp_path, capsys, flags):
    code, lines = run(capsys, *flags, "--output_dir", tmp_path / "run")
    assert code == 2 and len(lines) == 1
    assert not (tmp_path / "run").exists()


SENTENCE = "哈尔滨是黑龙江的省会，也是一座以冰雪闻名的城市。"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("one document only", "\n".join(f"第{i}句：{SENTENCE}" for i in range(80))),
        ("one sentence per document", "\n\n".join(f"第{i}句：{SENTENCE}" for i in range(80))),
        (
            "a sentence of 100,000 characters",
            "哈尔滨是黑龙江的省会" * 10_000 + "\n\n" + "\n\n".join([SENTENCE] * 40),
        ),
    ],
)
def test_odd_text_is_handled_and_said(tmp_path, capsys, kind, text):
    (tmp_path / "text.txt").write_text(text, encoding="utf8")
    code = main(
        ["demo", "--text", str(tmp_path / "text.txt"), "--output_dir", str(tmp_path / "run"), "--steps", "10"]
    )
    said = capsys.readouterr()
    assert code == 0, said.err
    prepared = json.loads((tmp_path / "run" / "stages" / "prepare.json").read_text())
    assert kind.split()[0] == "one" or prepared["counts"]["long_sentences"] == 1
    assert prepared["notes"] and prepared["notes"][0] in "".join(said.out.replace("\n", " "))
    assert (tmp_path / "run" / "pretrain_word" / "final" / "model_state.pdparams").exists()


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["zhwiki_sample.txt", "mlqa_zh_contexts.txt.gz"])
def test_own_text(real_data, tmp_path, name):
    text = real_data / "corpus" / name
    assert main(["demo", "--text", str(text), "--output_dir", str(tmp_path / "run"), "--steps", "20"]) == 0
    filled = json.loads((tmp_path / "run" / "stages" / "fill.json").read_text())["sentences"]
    assert len(filled) >= 5 and all(len(one["filled"]) == 3 for one in filled)
    assert all(one["text"].count("[MASK]") == len(one["hidden"]) for one in filled)
