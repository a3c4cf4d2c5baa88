"""What turns a clone into an installation: make, setup.sh, pip, the wheel and the build of the C++ helpers."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ernie_from_scratch import native

ROOT = Path(__file__).resolve().parents[1]
MAKE = shutil.which("make")


# make


@pytest.fixture
def clone(tmp_path):
    """A checkout without .venv: what `make` and setup.sh see on a fresh machine."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copytree(ROOT / "helpers_cpp", tmp_path / "helpers_cpp")
    return tmp_path


def make(folder, *arguments, **environ):
    outside = {
        name: value for name, value in os.environ.items() if not name.startswith("MAKE")
    }  # of `make test`
    run = subprocess.run(
        [MAKE, *arguments], cwd=folder, capture_output=True, text=True, env=outside | environ
    )
    return run.returncode, run.stdout, run.stderr


def test_make_alone_lists_every_target(clone):
    code, out, _ = make(clone)
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M).group(1).split()
    assert code == 0 and [line.split()[1] for line in out.splitlines()] == phony


def test_make_run_and_test_begin_with_setup(clone):
    for target, last in (("run", "ernie demo"), ("test", "pytest --nbval")):
        code, out, _ = make(clone, "-n", target)
        assert code == 0 and "tools/setup.sh" in out and last in out.splitlines()[-1]
    assert "ernie demo --text my.txt" in make(clone, "-n", "run", "ARGS=--text my.txt")[1]


def test_second_setup_does_nothing_until_a_version_changes(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv" / ".ready").touch()
    assert "setup.sh" not in make(clone, "-n", "setup")[1]
    os.utime(clone / "requirements.lock", (4e9, 4e9))
    assert "setup.sh" in make(clone, "-n", "setup")[1]


@pytest.mark.parametrize("named", ["", "PYTHON=/no/python3.11"])
def test_setup_without_a_fitting_python_says_so(clone, named):
    nothing = clone / "bin"
    nothing.mkdir()
    for tool in ("sh", "touch"):
        (nothing / tool).symlink_to(shutil.which(tool))
    (nothing / "python3").write_text("#!/bin/sh\nexit 1\n")  # one that is too old
    (nothing / "python3").chmod(0o755)
    code, _, err = make(clone, "setup", *filter(None, [named]), PATH=str(nothing))
    assert code != 0 and "error: no Python 3.10, 3.11 or 3.12 found" in err and "make setup PYTHON=" in err
    assert not (clone / ".venv").exists()


STAND_IN = """#!/bin/sh
echo "$0 $*" >> "$LOG"
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
fi
"""


def test_setup_takes_the_first_python_that_fits(clone):
    """setup.sh with a stand-in for Python that notes how it is called; nothing is installed."""
    folder = clone / "bin"
    folder.mkdir()
    for name, text in (("python3", "#!/bin/sh\nexit 1\n"), ("python3.11", STAND_IN)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    log = clone / "log"
    code, out, err = make(clone, "setup", PATH=f"{folder}:{os.environ['PATH']}", LOG=str(log))
    calls = log.read_text()
    assert code == 0, err
    assert f"{folder}/python3.11 -m venv --clear .venv" in calls
    assert "-m pip install --quiet --disable-pip-version-check --requirement requirements.lock" in calls
    assert "--no-deps --no-build-isolation --editable ." in calls and "-m pip check" in calls
    assert calls.strip().endswith("-m ernie_from_scratch doctor")
    assert (clone / ".venv" / ".ready").exists() and "setup.sh" not in make(clone, "-n", "setup")[1]


# C++ helpers


def build(folder, **environ):
    """`setup.py build_ext` on a copy of the C++ frame; returns the finished process."""
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | environ)


@pytest.fixture
def frame(clone):
    """The clone with an extension of no parts, which compiles in a second or two."""
    for path in (clone / "helpers_cpp").iterdir():
        if path.name not in ("module.cpp", "helpers.h"):
            path.unlink()
    module = clone / "helpers_cpp" / "module.cpp"
    module.write_text(re.sub(r"^ *bind_\w+\(module\);\n", "", module.read_text(), flags=re.M))
    (clone / "ernie_from_scratch").mkdir()
    (clone / "ernie_from_scratch" / "__init__.py").touch()
    return clone


INSTALL = ["-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target"]


def test_install_without_a_compiler_succeeds(frame, tmp_path):
    """pip's way: the failed build is a warning, and the package lands without the extension."""
    target = tmp_path / "installed"
    missing = {"CC": "/no/compiler", "CXX": "/no/compiler"}
    command = [sys.executable, *INSTALL, target, frame]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | missing)
    assert run.returncode == 0, run.stderr
    assert (target / "ernie_from_scratch" / "__init__.py").exists()
    assert not list(target.glob("ernie_from_scratch/_helpers*"))


def test_wheel_carries_every_file_of_the_package(tmp_path):
    """Pages, templates and the text that ships are in the wheel; built without the C++ part, which takes a minute."""
    checkout = tmp_path / "checkout"
    for name in ("ernie_from_scratch", "data"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--quiet",
    ]
    subprocess.run([*command, "--wheel-dir", tmp_path, checkout], check=True, capture_output=True)
    packed = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for path in (checkout / "ernie_from_scratch").rglob("*"):
        if path.is_file():
            assert path.relative_to(checkout).as_posix() in packed
    facts = [name for name in packed if "share/ernie_from_scratch/data/facts/" in name]
    assert len(facts) == len(list((ROOT / "data" / "facts").iterdir()))


def test_build_by_hand_without_a_compiler_fails(frame):
    assert build(frame, CC="/no/compiler", CXX="/no/compiler").returncode != 0


@pytest.mark.skipif(not shutil.which("c++"), reason="no C++ compiler")
def test_build_with_a_compiler(frame):
    run = build(frame)
    assert run.returncode == 0, run.stderr
    code = "import ernie_from_scratch._helpers as helpers; print(helpers.__doc__)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=frame, capture_output=True, text=True)
    assert loaded.stdout.startswith("C++ versions"), loaded.stderr


def test_helpers_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("EFS_NO_CPP", "1")
    assert native.helpers() is None and "EFS_NO_CPP" in native.why_missing()
    monkeypatch.setenv("EFS_NO_CPP", "0")
    assert (native.helpers() is None) == bool(native.why_missing())


def test_helpers_that_do_not_load_are_reported(monkeypatch):
    def refuse(name):
        raise ImportError("libstdc++.so.6: version GLIBCXX_3.4.99 not found")

    monkeypatch.delenv("EFS_NO_CPP", raising=False)
    monkeypatch.setattr(native.importlib, "import_module", refuse)
    native._load.cache_clear()
    try:
        assert native.helpers() is None and "GLIBCXX_3.4.99" in native.why_missing()
    finally:
        native._load.cache_clear()


def test_every_part_is_bound():
    """Each bind function is called, by module.cpp or by a part's own bind function."""
    sources = {path.name: path.read_text() for path in (ROOT / "helpers_cpp").glob("*.cpp")}
    bound = [name for text in sources.values() for name in re.findall(r"^void (bind_\w+)\(", text, re.M)]
    assert {"bind_wordpiece", "bind_segment", "bind_sampler"} <= set(bound)
    for name in bound:
        assert any(re.search(rf"^ +(\w+::)?{name}\(module\);", text, re.M) for text in sources.values()), name
