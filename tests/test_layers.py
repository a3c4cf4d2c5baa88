"""The layers of the package: who imports whom, what comes along with `import ernie_from_scratch`."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ernie_from_scratch"
HEAVY = {  # imported inside the function that needs them, never at the top of a module
    "LAC", "fastapi", "httpx", "ipywidgets", "matplotlib", "onnx", "onnxruntime", "openvino", "paddle2onnx",
    "paddlenlp", "ray", "tokenizers", "torch", "transformers", "uvicorn", "visualdl", "zhplot",
}  # fmt: skip
FREE_TO_IMPORT = {"deployment/server.py": {"fastapi"}}  # a module that is itself imported late


def modules():
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imports_at_top(path: Path) -> set[str]:
    """Names of the modules that importing this one imports: all but those inside functions and TYPE_CHECKING."""
    found, todo = set(), list(ast.parse(path.read_text(encoding="utf-8")).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = (
                node.module == "ernie_from_scratch"
            )  # `from ernie_from_scratch import native` names a module
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if whole else {node.module}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            todo += [
                child
                for child in ast.iter_child_nodes(node)
                if isinstance(child, (ast.stmt, ast.excepthandler))
            ]
    return found


def test_rooms_import_only_from_the_rooms_below():
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[run.stdout.find("Contracts") :]


def test_the_linter_notices_a_room_that_looks_up(tmp_path):
    """The same contracts on a small package with one import the wrong way."""
    for room in "commands lab deployment finetuning training dataset text models".split():
        (tmp_path / "ernie_from_scratch" / room).mkdir(parents=True)
        (tmp_path / "ernie_from_scratch" / room / "__init__.py").touch()
    for module in "__init__ config settings native text/vocabulary".split():
        (tmp_path / "ernie_from_scratch" / f"{module}.py").touch()
    (tmp_path / "ernie_from_scratch" / "text" / "vocabulary.py").write_text(
        "from ernie_from_scratch.lab import *\n"
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=tmp_path, capture_output=True, text=True)
    assert (
        run.returncode == 1
        and "ernie_from_scratch.text is not allowed to import ernie_from_scratch.lab" in run.stdout
    )


@pytest.mark.parametrize("name", [name for name in modules() if name.startswith("models/")])
def test_models_need_only_paddle_numpy_and_config(name):
    allowed = {"paddle", "numpy"} | sys.stdlib_module_names
    for module in imports_at_top(PACKAGE / name):
        ours = module.startswith(("ernie_from_scratch.models", "ernie_from_scratch.config"))
        assert ours or module.split(".")[0] in allowed, module


def test_models_and_config_work_when_copied_away(tmp_path):
    shutil.copytree(PACKAGE / "models", tmp_path / "ernie_from_scratch" / "models")
    shutil.copy(PACKAGE / "config.py", tmp_path / "ernie_from_scratch")
    code = """
import paddle, ernie_from_scratch
from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.models import ErnieForPretraining
assert ernie_from_scratch.__file__ is None  # the copy, which is no installed package
model = ErnieForPretraining(ErnieConfig.preset("tiny", vocab_size=50))
scores, order = model(paddle.ones([2, 5], "int64"), masked_positions=paddle.to_tensor([1, 7]))
assert scores.shape == [2, 50] and order.shape == [2, 2]
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.mark.parametrize("name", modules())
def test_heavy_libraries_are_imported_late(name):
    heavy = {module.split(".")[0] for module in imports_at_top(PACKAGE / name)} & HEAVY
    assert heavy <= FREE_TO_IMPORT.get(name, set())


def test_every_room_is_a_package():
    rooms = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [room.name for room in rooms if not (room / "__init__.py").is_file()] == []


def test_import_is_light():
    """`import ernie_from_scratch` imports neither Paddle nor numpy nor anything else that is installed."""
    code = """
import sys
before = set(sys.modules)  # what the start of this Python has imported
import ernie_from_scratch
print(*{name.partition(".")[0] for name in sys.modules.keys() - before})
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) - sys.stdlib_module_names == {"ernie_from_scratch"}


def test_promised_names_are_there_and_late():
    import ernie_from_scratch as efs

    for name in efs.__all__:
        assert getattr(efs, name) is not None and name in dir(efs)
    with pytest.raises(AttributeError, match="has no attribute 'ErnieModle'"):
        _ = efs.ErnieModle


def test_import_order_does_not_matter_for_results():
    """Paddle first (views stay on) or the package first (off): the same numbers."""
    code = """
{imports}
import numpy as np, paddle
paddle.seed(1)
x = paddle.randn([3, 4])
print(float((x.transpose([1, 0]) @ x)[1:].sum()))
"""
    orders = ("import ernie_from_scratch", "import paddle, ernie_from_scratch")
    results = {
        subprocess.run(
            [sys.executable, "-c", code.format(imports=order)], capture_output=True, text=True
        ).stdout
        for order in orders
    }
    assert len(results) == 1 and float(results.pop())
