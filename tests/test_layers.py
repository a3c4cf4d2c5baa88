"""The layers of the package: who imports whom, what comes along with `import ernie_from_scratch`."""

import ast
import os
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
LAYERS = """commands experiments diagnostics lab deployment finetuning training planner parallel objectives dataset text
    weights models utils config""".split()
MODULES = """__init__ process_setup native jupyter_kernel text/vocabulary models/heads models/pretrained
    weights/pretrained""".split()


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
            of_package = (
                node.module == "ernie_from_scratch"
            )  # `from ernie_from_scratch import native`: a module
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if of_package else {node.module}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            todo += [
                child
                for child in ast.iter_child_nodes(node)
                if isinstance(child, (ast.stmt, ast.excepthandler))
            ]
    return found


def lint_imports(folder):
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=folder, capture_output=True, text=True)
    return run.returncode, run.stdout[run.stdout.find("Contracts") :]


def test_packages_import_only_from_the_packages_below():
    code, output = lint_imports(ROOT)
    assert code == 0, output


@pytest.mark.parametrize(
    "module, imported, broken",
    [
        ("text/vocabulary", None, None),
        ("text/vocabulary", "lab", "ernie_from_scratch.text is not allowed to import ernie_from_scratch.lab"),
        (
            "models/heads",
            "weights",
            "ernie_from_scratch.models is not allowed to import ernie_from_scratch.weights",
        ),
        (
            "models/heads",
            "utils",
            "ernie_from_scratch.models is not allowed to import ernie_from_scratch.utils",
        ),
    ],
)
def test_the_linter_notices_an_import_upwards(tmp_path, module, imported, broken):
    """The same contracts on a small package with one import the wrong way."""
    package = tmp_path / "ernie_from_scratch"
    for layer in LAYERS:
        (package / layer).mkdir(parents=True)
        (package / layer / "__init__.py").touch()
    for name in MODULES:
        (package / f"{name}.py").touch()
    (package / "models" / "pretrained.py").write_text("from ernie_from_scratch.weights import pretrained\n")
    if imported:
        (package / f"{module}.py").write_text(f"from ernie_from_scratch.{imported} import *\n")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code, output = lint_imports(tmp_path)
    assert code == bool(broken) and (broken or "") in output, output


def test_every_package_is_in_a_layer():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(LAYERS)


@pytest.mark.parametrize("name", [name for name in modules() if name.startswith("models/")])
def test_models_need_only_paddle_numpy_and_config(name):
    allowed = {"paddle", "numpy"} | sys.stdlib_module_names
    for module in imports_at_top(PACKAGE / name):
        ours = module.startswith(("ernie_from_scratch.models", "ernie_from_scratch.config"))
        assert ours or module.split(".")[0] in allowed, module


def test_only_from_pretrained_and_save_pretrained_need_more():
    """Methods of the models whose code is in weights/; imported when they are called."""
    late = set()
    for name in (name for name in modules() if name.startswith("models/")):
        for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module not in imports_at_top(PACKAGE / name):
                late.add((name, node.module))
    assert {(name, module) for name, module in late if module.startswith("ernie_from_scratch.")} == {
        ("models/pretrained.py", "ernie_from_scratch.weights.pretrained")
    }


# Where the name of a family may stand: its classes, files of its weights, its tokenizer, and programs for this model.
FAMILY_FILES = ("__init__.py", "config/", "models/", "weights/", "text/", "experiments/", "planner/job.py")


@pytest.mark.parametrize("name", [name for name in modules() if not name.startswith(FAMILY_FILES)])
def test_the_rest_finds_a_family_through_the_registry(name):
    """No class, attribute or parameter name of ERNIE outside of FAMILY_FILES."""
    for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not [alias.name for alias in node.names if alias.name.startswith("Ernie")]
        elif isinstance(node, ast.Attribute):
            assert node.attr != "ernie" and not node.attr.startswith("Ernie"), ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not node.value.startswith("ernie."), node.value


def test_models_and_config_work_when_copied_away(tmp_path):
    for name in ("models", "config"):
        shutil.copytree(PACKAGE / name, tmp_path / "ernie_from_scratch" / name)
    code = """
import paddle, ernie_from_scratch
from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.models import ErnieForPretraining
assert ernie_from_scratch.__file__ is None  # the copy, which is no installed package
model = ErnieForPretraining(ErnieConfig.preset("tiny", vocab_size=50))
scores, order = model(paddle.ones([2, 5], "int64"), masked_positions=paddle.to_tensor([1, 7]))
assert scores.shape == [2, 50] and order.shape == [2, 2]
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.mark.parametrize("name", modules())
def test_heavy_libraries_are_imported_late(name):
    heavy = {module.split(".")[0] for module in imports_at_top(PACKAGE / name)} & HEAVY
    assert heavy == set()


def test_every_folder_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").is_file()] == []


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
