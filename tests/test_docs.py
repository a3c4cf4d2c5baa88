"""The documents for contributors follow the code: layers, packages, links and commands."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ernie_from_scratch"
DOCUMENTS = [ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md")]


@pytest.fixture(scope="module")
def drawing():
    """tools/draw_architecture.py as a module."""
    spec = importlib.util.spec_from_file_location("draw", ROOT / "tools" / "draw_architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checked_layers():
    """The layers that import-linter checks, from top to bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [layer.replace("ernie_from_scratch.", "") for layer in layers]


def packages():
    modules = [path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]
    return sorted([*modules, *(path.parent.name for path in PACKAGE.glob("*/__init__.py"))])


def test_picture_shows_the_layers_that_are_checked(drawing):
    assert list(drawing.LAYERS) == checked_layers()
    assert (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8") == drawing.svg(), (
        "run tools/draw_architecture.py"
    )


def test_every_package_is_in_the_layers_and_described():
    in_layers = [name for layer in checked_layers() for name in layer.split(" | ")]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `(\w+)/?` \|", text, re.M)
    assert sorted(in_layers) == packages() == sorted(described)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_files_and_make_targets_exist(path):
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (path.parent / link).exists(), link
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M).group(1).split()
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(targets)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_paths_in_code_exist(name):
    """`models/registry.py`, `finetuning/tasks/` and the like, from the root or from the package."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for mentioned in re.findall(r"`([a-z_.]+/(?:[a-z_]+/|[a-z_]+\.\w+)+)`", text):
        assert (ROOT / mentioned).exists() or (PACKAGE / mentioned).exists(), mentioned


def test_changelog_tells_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## \[([\d.]+)\] - (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    citation = (ROOT / "CITATION.cff").read_text()
    assert newest.group(1) == version
    assert f"\nversion: {version}\n" in citation and f"\ndate-released: {newest.group(2)}\n" in citation
