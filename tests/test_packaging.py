"""What a clone needs to become an installation: the locked versions, the C++ helpers, make, and the files that ship."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ernie_from_scratch
from ernie_from_scratch import native

ROOT = Path(__file__).resolve().parents[1]
if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHONS = ("3.10", "3.11", "3.12")
MAKE = shutil.which("make")


def requirements(lines):
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def lock(name="requirements.lock"):
    return requirements((ROOT / name).read_text().splitlines())


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def chosen(locked, python, platform="linux"):
    """name -> version of the locked requirements whose markers fit this Python on this platform."""
    environment = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": platform}
    environment |= {"implementation_name": "cpython"}
    fitting = [r for r in locked if r.marker is None or r.marker.evaluate(environment)]
    names = [canonicalize_name(r.name) for r in fitting]
    assert len(names) == len(set(names)), "two versions of one package for the same Python"
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in fitting}


# The lock


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-oracles.lock"])
def test_lock_pins_every_line_and_names_no_index(name):
    for requirement in lock(name):
        assert re.fullmatch(r"==[\w.!+]+", str(requirement.specifier)), requirement
        assert requirement.url is None
    assert not re.search(r"https?://|--(extra-)?index|--find-links|@ file", (ROOT / name).read_text())


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
def test_lock_satisfies_every_dependency(python, platform):
    """Each direct dependency has one locked version for each Python, inside the range that pyproject.toml gives."""
    versions = chosen(lock(), python, platform)
    extras = pyproject()["optional-dependencies"]
    wanted = requirements(
        [*pyproject()["dependencies"], *extras["paddlenlp"], *extras["deploy"], *extras["dev"]]
    )
    for requirement in wanted:
        if requirement.marker is None or requirement.marker.evaluate({"sys_platform": platform}):
            version = versions[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


@pytest.mark.parametrize("python", PYTHONS)
def test_oracles_live_beside_the_lock(python):
    main, oracles = chosen(lock(), python), chosen(lock("requirements-oracles.lock"), python)
    assert all(main.get(name, version) == version for name, version in oracles.items())
    for requirement in requirements(pyproject()["optional-dependencies"]["oracles"]):
        assert requirement.specifier.contains(oracles[requirement.name])
    assert main["tokenizers"].startswith("0.20.")  # what transformers 4.46 asks for


def test_this_environment_is_consistent():
    run = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_conda_environment_equals_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert sorted(map(str, requirements(pip))) == sorted(map(str, lock()))
    python = next(entry for entry in environment["dependencies"] if str(entry).startswith("python="))
    assert python.removeprefix("python=") in PYTHONS


def test_conda_environment_names_the_gpu_build_beside_the_cpu_one():
    lines = (ROOT / "environment.yml").read_text().splitlines()
    cpu = next(number for number, line in enumerate(lines) if "- paddlepaddle==" in line)
    version = lines[cpu].partition("==")[2]
    assert lines[cpu + 1].strip().startswith("#") and f"paddlepaddle-gpu=={version}" in lines[cpu + 1]


def test_every_direct_dependency_says_what_it_is_for():
    text = (ROOT / "pyproject.toml").read_text()
    for name in ("dependencies", "text", "deploy"):
        block = re.search(rf"^{name} = \[(.*?)^\]", text, re.S | re.M).group(1)
        for line in block.strip().splitlines():
            assert re.search(r'",? +# \S', line), f"no reason: {line.strip()}"


def test_supported_pythons_are_told_alike():
    assert pyproject()["requires-python"] == ">=3.10,<3.13"
    classifiers = [c.rpartition(" ")[2] for c in pyproject()["classifiers"] if "Python :: 3." in c]
    assert tuple(classifiers) == PYTHONS
    setup = (ROOT / "tools" / "setup.sh").read_text()
    assert "(3, 10) <= sys.version_info[:2] <= (3, 12)" in setup


def test_version_is_told_once():
    assert (
        importlib.metadata.version("ernie_from_scratch")
        == pyproject()["version"]
        == ernie_from_scratch.__version__
    )


# Style


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff(command):
    ruff = Path(sys.executable).with_name("ruff")
    run = subprocess.run([ruff, *command], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


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


# What ships


def test_nothing_names_a_machine_or_an_index():
    """No committed text file names a path of the machine it was written on, or a package index."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    wrong = re.compile(
        "/work/" + "(main|shared)|/tmp/" + "(team|bash_jobs)|files[.]python" + "hosted|/root/" + "[.]"
    )
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and path.suffix not in (".gz", ".npy", ".npz", ".png"):
            found = wrong.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None, f"{name}: {found.group()}"


def test_licence():
    assert (ROOT / "LICENSE").read_text().split()[:3] == ["Apache", "License", "Version"]
    assert pyproject()["license"] == "Apache-2.0"


def test_ci_runs_the_readme_s_two_commands():
    script = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^(make \w+)", script, re.M) == ["make run", "make test"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
