"""What a clone promises before it is installed: locked versions that fit, one style, and files that may ship."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ernie_from_scratch

ROOT = Path(__file__).resolve().parents[1]
if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHONS = ("3.10", "3.11", "3.12")


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


@pytest.mark.parametrize(
    "command", ["ruff check", "ruff format --check", "lint-imports", "codespell"], ids=lambda name: name
)
def test_lint(command):
    """The checks of `make lint` but the type checker, which takes half a minute."""
    tool, *arguments = command.split()
    run = subprocess.run(
        [Path(sys.executable).with_name(tool), *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout
    assert f"$(BIN)/{command}\n" in (ROOT / "Makefile").read_text()


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
