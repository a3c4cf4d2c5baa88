"""The frame of `ernie`: choosing a command, mistakes that end in one line and exit code 2, and `ernie doctor`."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from process_helpers import HANG_SECONDS, start

from ernie_from_scratch.commands import main as frame
from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.settings import Settings, flag_of, option_of


def ernie(*argv, capsys):
    code = frame.main(list(argv))
    out, err = capsys.readouterr()
    return code, out, err


def one_line(capsys, *argv):
    """The message of a run that must end as a user's mistake: exit code 2, one line on stderr."""
    code, out, err = ernie(*argv, capsys=capsys)
    assert code == 2 and out == "" and err.count("\n") == 1 and err.startswith("error: ")
    return err


# Choosing a command


def test_version_and_overview(capsys):
    code, out, _ = ernie("--version", capsys=capsys)
    assert code == 0 and out.startswith("ernie_from_scratch 0.")
    for argv in ([], ["--help"], ["help"]):
        code, out, _ = ernie(*argv, capsys=capsys)
        assert code == 0 and "Examples:" in out and "  doctor" in out


def test_help_of_a_command(capsys):
    code, out, _ = ernie("doctor", "--help", capsys=capsys)
    assert code == 0 and "--json" in out and "Examples:" in out
    assert ernie("help", "doctor", capsys=capsys)[:2] == (0, out)


def test_unknown_command_and_flag(capsys):
    assert "unknown command: docter; did you mean doctor?" in one_line(capsys, "docter")
    assert "unknown command: qqqq; `ernie --help`" in one_line(capsys, "qqqq")
    assert "unknown flag before the command: --frobnicate" in one_line(capsys, "--frobnicate")
    assert "did you mean --json?" in one_line(capsys, "doctor", "--jsn")
    assert "unknown command: main" in one_line(capsys, "main")  # a file of the frame is no command


@pytest.mark.parametrize("name", frame.command_names())
def test_each_command_teaches(name, capsys):
    """Every command has a summary of one line, and examples that name it."""
    module = frame.load(name)
    assert module.__doc__ and len(module.HELP.strip().splitlines()[0]) <= 110
    assert f"ernie {name}" in module.HELP
    code, out, _ = ernie(name, "--help", capsys=capsys)
    assert code == 0 and f"usage: ernie {name}" in out


def test_commands_import_nothing_heavy():
    """`ernie --help` and `ernie NAME --help` import every command module; Paddle and the like belong inside run()."""
    heavy = ("paddle", "paddlenlp", "matplotlib", "onnxruntime", "openvino", "fastapi")
    code = f"""
import sys
from ernie_from_scratch.commands import main
for name in main.command_names():
    assert main.main([name, "--help"]) == 0
    assert not sys.modules.keys() & {set(heavy)}, name
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("name", frame.command_names())
def test_each_command_names_what_is_missing(name, capsys):
    """All required options but the last are given, and the error names that one."""
    classes = frame.load(name).SETTINGS
    first = classes[0] if isinstance(classes, tuple) else classes
    required = [field for field in fields(first) if option_of(field).required]
    if not required:
        pytest.skip("nothing is required")
    given = [[] if option_of(f).positional else [f"--{f.name}"] for f in required[:-1]]
    argv = [word for flag in given for word in [*flag, "some"]]
    assert f"error: {flag_of(required[-1])} is missing: " in one_line(capsys, name, *argv)


def test_a_yaml_file_gives_the_settings_of_any_command(tmp_path, capsys):
    file = tmp_path / "vocab.yaml"
    text = write(tmp_path / "text.txt", "今天天气很好。" * 3)
    file.write_text(f"input: {text}\noutput: {tmp_path / 'vocab.txt'}\nmin_count: 1\nkeep_case: true\n")
    assert ernie("vocab", "--config", str(file), "--size", "100", capsys=capsys)[0] == 0
    assert (tmp_path / "vocab.txt").exists()
    file.write_text("samples: some\n")
    assert "samples is 'some' in " in one_line(capsys, "inspect", "--config", str(file), "prefix")
    assert "unknown model: x" in one_line(  # a plan's --config is a network
        capsys, "plan", "--config", "x", "--gpus", "8", "--gpu", "h200",
        "--global_batch_size", "8", "--max_seq_len", "8",
    )  # fmt: skip


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


# Errors while a command runs


@pytest.fixture
def broken(monkeypatch):
    """A command `broken` that raises the given exception."""

    def make(error):
        class Module:
            HELP = "Break"
            SETTINGS = Settings

            @staticmethod
            def run(settings):
                raise error

        monkeypatch.setattr(frame, "command_names", lambda: ["broken"])
        monkeypatch.setattr(frame, "load", lambda name: Module)

    return make


def test_user_error_is_one_line_even_if_written_on_two(broken, capsys):
    broken(UserError("empty file:\n  a.txt; give text"))
    assert one_line(capsys, "broken") == "error: empty file: a.txt; give text\n"


def test_refusals_of_the_system_are_one_line(broken, capsys):
    broken(OSError(28, "No space left on device", "runs/model.tmp"))
    assert "No space left on device: runs/model.tmp; free some space" in one_line(capsys, "broken")
    broken(PermissionError(13, "Permission denied", "/root/x"))
    assert "Permission denied: /root/x; choose" in one_line(capsys, "broken")


def test_bugs_keep_their_traceback(broken):
    broken(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        frame.main(["broken"])
    broken(FileNotFoundError(2, "No such file or directory", "x"))
    with pytest.raises(FileNotFoundError):
        frame.main(["broken"])


def test_interrupt_is_exit_130_and_one_line(broken, capsys):
    broken(KeyboardInterrupt())
    assert ernie("broken", capsys=capsys) == (130, "", "interrupted\n")


def test_console_script_and_module_are_the_same():
    script = subprocess.run(
        [Path(sys.executable).with_name("ernie"), "--version"], capture_output=True, text=True
    )
    module = subprocess.run(
        [sys.executable, "-m", "ernie_from_scratch", "--version"], capture_output=True, text=True
    )
    assert script.stdout == module.stdout and script.stdout.startswith("ernie_from_scratch")


PROGRAM = """
import sys
from ernie_from_scratch.commands import main as frame
from ernie_from_scratch.utils.settings import Settings
class Module:
    HELP = "Print"
    SETTINGS = Settings
    run = staticmethod(lambda settings: BODY)
frame.command_names = lambda: ["print"]
frame.load = lambda name: Module
sys.exit(frame.main(["print"]))
"""
PRINTER = PROGRAM.replace("BODY", 'print("哈尔滨\\n" * 100_000)')
SLEEPER = PROGRAM.replace("BODY", '(print("ready", flush=True), __import__("time").sleep(3600))')


def test_reader_that_leaves_is_no_error():
    """`ernie ... | head -1`"""
    child = start([sys.executable, "-c", PRINTER], stdout=subprocess.PIPE, text=False)
    assert child.stdout.readline().decode().strip() == "哈尔滨"
    child.stdout.close()
    assert child.stderr.read() == b"" and child.wait(HANG_SECONDS) == 141


def test_chinese_on_an_ascii_terminal_does_not_crash():
    environ = os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    run = subprocess.run([sys.executable, "-c", PRINTER], env=environ, capture_output=True)
    assert run.returncode == 0 and run.stdout.startswith(b"\\u54c8")


def test_ctrl_c_in_a_real_process():
    child = start([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, text=False)
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=HANG_SECONDS)
    assert child.returncode == 130 and err == b"interrupted\n"


# ernie doctor


def test_doctor_as_json(capsys):
    code, out, _ = ernie("doctor", "--json", capsys=capsys)
    report = json.loads(out)
    assert code == 0 and report["ready"] is True
    assert list(report["topics"]) == [
        "system",
        "paddle",
        "settings",
        "helpers",
        "packages",
        "pictures",
        "notebooks",
    ]
    names = {finding["name"] for findings in report["topics"].values() for finding in findings}
    assert {
        "python",
        "memory",
        "device",
        "matrix product",
        "C++ helpers",
        "compiler",
        "Chinese font",
    } <= names


def test_doctor_says_what_to_do(monkeypatch, capsys):
    from ernie_from_scratch.diagnostics import doctor
    from ernie_from_scratch.lab import fonts

    monkeypatch.setenv("EFS_NO_CPP", "1")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(doctor, "version_of", lambda name: None)
    monkeypatch.setattr(fonts, "packaged_font", lambda: None)
    monkeypatch.setattr(fonts, "SYSTEM_FAMILIES", ())
    fonts.chinese_font.cache_clear()
    code, out, _ = ernie("doctor", capsys=capsys)
    fonts.chinese_font.cache_clear()
    out = " ".join(out.split())
    assert code == 1  # no font: the demo's report would show boxes
    for advice in ("unset EFS_NO_CPP", "pip install zhplot", '-e ".[deploy]"', "requirements-oracles.lock"):
        assert advice in out
    assert "compiler none found" in out


def test_doctor_without_compiler_and_helpers(monkeypatch):
    from ernie_from_scratch.diagnostics import doctor

    monkeypatch.setattr(doctor.native, "helpers", lambda: None)
    monkeypatch.setattr(doctor.native, "why_missing", lambda: "not built")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    built, compiler = doctor.helpers()
    assert built.state == "note" and "apt-get install g++" in built.advice and compiler.value == "none found"


def test_doctor_sees_a_gpu_that_paddle_does_not_use(monkeypatch):
    from ernie_from_scratch.diagnostics import doctor

    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert "paddlepaddle-gpu" in doctor._no_gpu(has_gpu_build=False).advice
    assert "nvidia-smi" in doctor._no_gpu(has_gpu_build=True).advice
