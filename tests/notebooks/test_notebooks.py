"""The committed notebooks keep the rules, and the rules notice when a notebook breaks them."""

import ast
import copy
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import notebook_rules as rules
import pytest
from nbformat import v4

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OTHERS = sorted(
    path for path in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
)
PACKAGE = rules.Package(ROOT / "ernie_from_scratch")


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def name_of(path):
    return str(path.relative_to(ROOT / "notebooks"))


@pytest.mark.parametrize("rule", rules.EVERYWHERE, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", OTHERS, ids=name_of)
def test_every_notebook(path, rule):
    assert rule(read(path)) == []


@pytest.mark.parametrize("rule", rules.CHAPTERS_ONLY, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", CHAPTERS, ids=name_of)
def test_every_chapter(path, rule):
    assert rule(read(path)) == []


@pytest.mark.parametrize("path", OTHERS, ids=name_of)
def test_what_is_taught_is_what_runs(path):
    assert rules.same_as_package(path.stem, read(path), PACKAGE) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=name_of)
def test_a_chapter_teaches_the_module_of_its_name(path):
    assert rules.teaches_its_module(path.stem, read(path), PACKAGE) == []


def test_each_class_is_built_once():
    assert rules.defined_once({path.stem: read(path) for path in CHAPTERS}, PACKAGE) == []


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("zh/*.ipynb")), ids=name_of)
def test_the_chinese_edition_has_the_same_code(path):
    english = read(ROOT / "notebooks" / path.name)
    assert [c["source"] for c in rules.code_cells(read(path))] == [
        c["source"] for c in rules.code_cells(english)
    ]


# The rules themselves, on made-up notebooks


def made_up(*sources, **replaced):
    """A notebook that keeps every rule: the given code cells, filled up to 25; `replaced` goes into the first."""
    sources = [*sources, *(f"assert {n} < {n + 1}" for n in range(25 - len(sources)))]
    cells = [v4.new_code_cell(source, execution_count=n) for n, source in enumerate(sources, 1)]
    cells[0].update(replaced)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=[v4.new_markdown_cell("# Goal"), *cells], metadata={"kernelspec": kernel})


def stream(text, name="stdout"):
    return [v4.new_output("stream", name=name, text=text)]


def complaints(notebook):
    return [text for rule in (*rules.EVERYWHERE, *rules.CHAPTERS_ONLY) for text in rule(notebook)]


def test_a_good_notebook_has_no_complaints():
    assert complaints(made_up(*["x = 1", "import ernie_from_scratch as efs", "import paddle"])) == []
    ignored = "# NBVAL_IGNORE_OUTPUT\n# seconds differ from run to run\nprint(1)"
    assert complaints(made_up(ignored, outputs=stream("ratio 1/tmp 3.5 s"))) == []


@pytest.mark.parametrize(
    ("notebook", "complaint"),
    [
        (made_up("x = 1", execution_count=None), "execution counts are [None, 2,"),
        (made_up("x = 1", execution_count=7), "execution counts are [7, 2,"),
        (
            made_up("x = 1", outputs=stream("UserWarning: glyph missing", "stderr")),
            "code cell 1 wrote to stderr",
        ),
        (
            made_up("x = 1", outputs=[v4.new_output("error", ename="KeyError", evalue="", traceback=[])]),
            "in KeyError",
        ),
        (
            made_up("x = 1", outputs=stream("saved to /home/ada/run")),
            "prints a path of one machine: /home/ada",
        ),
        (made_up("x = 1", outputs=stream("/usr/lib/python3/site-packages/p.py:3: warning")), "site-packages"),
        (made_up("x = open('/tmp/ada')"), "code cell 1 names a path of one machine: /tmp/ada"),
        (
            made_up(
                "x", outputs=[v4.new_output("display_data", data={"text/html": "<a href='C:\\Users\\ada'>"})]
            ),
            "prints a path",
        ),
        (made_up("# NBVAL_IGNORE_OUTPUT\nprint(1)"), "say why in a comment line after NBVAL_IGNORE_OUTPUT"),
        (
            made_up("# NBVAL_IGNORE_OUTPUT: seconds differ\n# from run to run\nx"),
            "only alone in its comment line",
        ),
        (made_up("# NBVAL_SKIP\n# it takes too long here\nprint(1)"), "every cell must run"),
        (made_up("x", metadata={"tags": ["nbval-ignore-output"]}), "has the tag nbval-ignore-output"),
        (
            made_up("import paddle.nn as nn\nimport ernie_from_scratch"),
            "import ernie_from_scratch before paddle.nn",
        ),
        (made_up("from paddlenlp import x"), "import ernie_from_scratch before paddlenlp"),
        (made_up("\n".join(["x = 1"] * 41)), "code cell 1 has 41 lines"),
        (made_up(*["\n".join(["x = 1"] * 40)] * 6 + ["x = 1"] * 19), "259 lines of code"),
        (made_up(*["x = 1"] * 18), "7 asserts: at least 8"),
        (made_up(*["assert 1"] * 46), "46 code cells"),
    ],
)
def test_a_broken_rule_is_noticed(notebook, complaint):
    found = complaints(notebook)
    assert any(complaint in text for text in found), found


def test_too_few_cells_and_another_kernel():
    notebook = made_up("x = 1")
    notebook.cells = notebook.cells[:10]
    notebook.metadata.kernelspec.name = "conda-env-ada"
    assert complaints(notebook) == [
        "kernel is conda-env-ada, not python3",
        "9 code cells: 25 to 45 are wanted",
    ]


@pytest.fixture
def package(tmp_path):
    (tmp_path / "pooler.py").write_text(
        '''
def scale(x):
    """Doubles."""
    return 2 * x

class Pooler(Layer):
    """Takes the first token."""
    size: int = 3
    def __init__(self, config):
        super().__init__()
        self.dense = config  # a comment
    def forward(self, x):
        """[B, L, H] -> [B, H]"""
        return self.dense(x[:, 0])
'''
    )
    return rules.Package(tmp_path)


START = """class Pooler(Layer):
    size: int = 3
    def __init__(self, config):
        super().__init__()
        self.dense = config"""
FORWARD = "@method_of(Pooler)\ndef forward(self, x):\n    # other words\n    return self.dense(x[:, 0])"


def test_the_package_s_class_in_one_cell_or_several(package):
    whole = START + "\n    def forward(self, x):\n        return self.dense(x[:, 0])"
    apart = START.replace("super()", "super(Pooler, self)")
    annotated = FORWARD.replace("return ", "pooled: Tensor = x[:, 0]\n    return ")
    assert rules.plain(ast.parse(annotated)) == rules.plain(ast.parse(annotated.replace(": Tensor", "")))
    naive = "class NaivePooler:\n    def forward(self):\n        return 1"
    for sources in ((whole, "def scale(x):\n    return 2 * x"), (START, FORWARD), (apart, FORWARD), (naive,)):
        assert rules.same_as_package("05_pooler", made_up(*sources), package) == []


@pytest.mark.parametrize(
    ("sources", "complaint"),
    [
        ((START, FORWARD.replace("0", "1")), "Pooler.forward differs from the package's"),
        ((START,), "Pooler.forward is missing"),
        ((START.replace("(Layer)", "(Module)"), FORWARD), "Pooler has other base classes"),
        ((START.replace("3", "4"), FORWARD), "Pooler.size differs"),
        (
            (START + "\n    def extra(self):\n        pass", FORWARD),
            "Pooler.extra does not exist in the package",
        ),
        (
            (START, FORWARD, START.replace("config)", "options)")),
            "Pooler.forward is missing",
        ),  # the last one counts
        (("def scale(x):\n    return 3 * x",), "scale() differs from the package's"),
    ],
)
def test_drift_is_noticed(package, sources, complaint):
    found = rules.same_as_package("05_pooler", made_up(*sources), package)
    assert any(complaint in text for text in found), found


def test_a_helper_of_another_module_is_the_notebook_s_own_business(package):
    own = made_up("def scale(x):\n    return 3 * x")
    assert rules.same_as_package("07_heads", own, package) == []
    assert rules.same_as_package("05_pooler", own, package) != []


def test_a_chapter_may_name_the_modules_that_it_teaches(package):
    def named(source, *modules):
        notebook = made_up(source)
        notebook.metadata["ernie_from_scratch"] = {"modules": list(modules)}
        return notebook

    right, wrong = "def scale(x):\n    return 2 * x", "def scale(x):\n    return 3 * x"
    assert rules.same_as_package("10_loop", made_up(wrong), package) == []
    assert rules.same_as_package("10_loop", named(right, "pooler"), package) == []
    assert "scale() differs" in rules.same_as_package("10_loop", named(wrong, "pooler"), package)[0]
    assert rules.teaches_its_module("10_loop", named(right, "pooler"), package) == []
    assert "defines nothing" in rules.teaches_its_module("10_loop", named("x = 1", "pooler"), package)[0]
    assert "not there" in rules.teaches_its_module("10_loop", named(right, "pool"), package)[0]


def left_out(*names):
    notebook = made_up(START)
    notebook.metadata["ernie_from_scratch"] = {"left_to_the_package": list(names)}
    return notebook


def test_methods_are_left_to_the_package_on_purpose_only(package):
    def found(*names):
        return rules.same_as_package("05_pooler", left_out(*names), package)

    assert found("Pooler.forward") == []
    assert found() == ["Pooler.forward is missing"]
    assert found("Pooler.forward", "Pooler.__init__") == [
        "Pooler.__init__ is said to be left out, but is not"
    ]
    assert found("Pooler.forward", "Pooler.save") == ["Pooler.save is left out, but unknown"]
    assert found("Pooler.forward", "Encoder.forward") == ["Encoder.forward: no class of this notebook"]


def test_a_chapter_that_teaches_nothing_and_a_class_built_twice(package):
    assert rules.teaches_its_module("05_pooler", made_up(START, FORWARD), package) == []
    assert (
        "defines nothing of the module" in rules.teaches_its_module("05_pooler", made_up("x = 1"), package)[0]
    )
    assert rules.teaches_its_module("00_tour", made_up("x = 1"), package) == []
    twice = {"05_pooler": made_up(START, FORWARD), "06_heads": made_up(START, FORWARD)}
    assert rules.defined_once(twice, package) == ["Pooler is built in 05_pooler and 06_heads"]


# nbval as pyproject.toml sets it up


def test_nbval_is_strict_and_its_kernel_has_the_settings(tmp_path):
    """Of three small notebooks the good one passes; another output fails, and so does a missing one.

    Only the addresses of objects are let off, and the kernel has imported the package before the first cell.
    """
    check = (
        "import os, sys; assert 'ernie_from_scratch' in sys.modules and os.environ['FLAGS_use_stride_kernel']"
    )
    small = {
        "good": (f"{check}\nprint('<object at 0x7f00aa>', 7)", stream("<object at 0x7fffff11> 7\n")),
        "other": ("print(8)", stream("7\n")),
        "missing": ("print(8)", []),
    }
    for name, (code, outputs) in small.items():
        notebook = made_up(code, outputs=outputs)
        notebook.cells = notebook.cells[:2]
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "-q",
        "-rA",
        "-p",
        "no:cacheprovider",
        "-c",
        "pyproject.toml",
    ]
    run = subprocess.run([*command, tmp_path], cwd=ROOT, capture_output=True, text=True)
    result = {
        name: word for word, name in re.findall(r"^(PASSED|FAILED|ERROR) .*?(\w+)[.]ipynb", run.stdout, re.M)
    }
    assert result == {"good": "PASSED", "other": "FAILED", "missing": "FAILED"}, run.stdout


def test_rules_do_not_change_the_notebook():
    notebook = made_up(START, FORWARD)
    before = copy.deepcopy(notebook)
    complaints(notebook), rules.same_as_package("05_pooler", notebook, PACKAGE)
    assert notebook == before
