"""Public functions say what they take and what they give."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ernie_from_scratch"
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def public_functions(tree: ast.Module):
    """(name, function) of the module's public functions and of the public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and not method.name.startswith(
                    "_"
                ):
                    yield f"{node.name}.{method.name}", method


def missing(function) -> list[str]:
    """Arguments without an annotation; "return" where the result has none."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    names = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
    return names + (["return"] if function.returns is None else [])


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_are_annotated(name):
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    found = {function: missing(node) for function, node in public_functions(tree)}
    assert {function: names for function, names in found.items() if names} == {}


def test_the_check_notices_what_is_missing():
    tree = ast.parse(
        "def f(a, b: int): ...\nclass C:\n    def g(self, *, x) -> int: ...\n    def _h(self, y): ..."
    )
    assert {name: missing(node) for name, node in public_functions(tree)} == {
        "f": ["a", "return"],
        "C.g": ["x"],
    }
