"""The rules for notebooks, each a function from a notebook to a list of complaints (empty = kept).

A notebook is a dict, as nbformat reads it. The rules are those of every chapter; solutions are let off the sizes.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

MACHINE_PATH = re.compile(
    r"(?<![\w.])(/(home|root|Users|tmp|var|work|opt|mnt|usr/local|content|private)/[\w.]+"
    r"|[A-Z]:\\\\?Users\\|/[\w./-]*site-packages/)"
)
MARKERS = ("NBVAL_IGNORE_OUTPUT", "NBVAL_CHECK_OUTPUT", "NBVAL_RAISES_EXCEPTION", "NBVAL_SKIP")


def code_cells(notebook) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and source(cell).strip()]


def source(cell) -> str:
    """The text of a cell without lines that are IPython's own (%magic, !shell), so that it parses as Python."""
    text = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
    return "\n".join("" if re.match(r"\s*[%!]", line) else line for line in text.split("\n"))


def code_lines(cell) -> int:
    return sum(1 for line in source(cell).splitlines() if line.strip())


def outputs(notebook) -> Iterator[tuple[int, dict]]:
    """(number of the code cell, output) pairs, counted from 1."""
    for number, cell in enumerate(code_cells(notebook), 1):
        for output in cell["outputs"]:
            yield number, output


def text_of(output) -> str:
    """All text in an output: streams, plain text and HTML, but no pictures."""
    parts = [output.get("text", "")]
    parts += [value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")]
    return "\n".join(part if isinstance(part, str) else str(part) for part in parts)


# Executed, and honest about what is compared


def executed_in_order(notebook) -> list[str]:
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    if counts == list(range(1, len(counts) + 1)):
        return []
    return [f"execution counts are {counts}: run all cells once, from a fresh kernel"]


def no_errors_in_outputs(notebook) -> list[str]:
    found = []
    for number, output in outputs(notebook):
        if output.get("name") == "stderr":
            found.append(f"code cell {number} wrote to stderr: {text_of(output).strip().splitlines()[0]}")
        if output["output_type"] == "error":
            found.append(f"code cell {number} ended in {output['ename']}")
    return found


def ignored_outputs_have_reasons(notebook) -> list[str]:
    found = []
    for number, cell in enumerate(code_cells(notebook), 1):
        lines = [line.strip() for line in source(cell).splitlines()]
        for place, line in enumerate(lines):
            marker = next((marker for marker in MARKERS if marker in line), None)
            if marker is None:
                continue
            if line.lstrip("#").strip() != marker:
                found.append(f"code cell {number}: nbval sees {marker} only alone in its comment line")
            if marker == "NBVAL_SKIP":
                found.append(f"code cell {number} is skipped: every cell must run")
            after = lines[place + 1] if place + 1 < len(lines) else ""
            if len(after.lstrip("# ")) < 10 or not after.startswith("#"):
                found.append(f"code cell {number}: say why in a comment line after {marker}")
        tags = [tag for tag in cell["metadata"].get("tags", []) if tag.startswith("nbval")]
        if tags:
            found.append(f"code cell {number} has the tag {tags[0]}: write the marker where readers see it")
    return found


def no_machine_paths(notebook) -> list[str]:
    texts = [(number, "prints", text_of(output)) for number, output in outputs(notebook)]
    texts += [(n, "names", source(cell)) for n, cell in enumerate(code_cells(notebook), 1)]
    return [
        f"code cell {number} {verb} a path of one machine: {match.group()}"
        for number, verb, text in texts
        if (match := MACHINE_PATH.search(text))
    ]


def runs_on_python3_kernel(notebook) -> list[str]:
    name = notebook["metadata"].get("kernelspec", {}).get("name")
    return [] if name == "python3" else [f"kernel is {name}, not python3"]


def settings_before_paddle(notebook) -> list[str]:
    """The package's process settings work fully only when it is imported before Paddle."""
    for number, cell in enumerate(code_cells(notebook), 1):
        for node in ast.walk(ast.parse(source(cell))):
            for name in imported(node):
                if name.startswith("ernie_from_scratch"):
                    return []
                if name.split(".")[0] in ("paddle", "paddlenlp"):
                    return [f"code cell {number}: import ernie_from_scratch before {name}"]
    return []


def imported(node) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


# Sizes


def sizes(notebook) -> list[str]:
    cells = code_cells(notebook)
    lines = [code_lines(cell) for cell in cells]
    found = []
    if not 25 <= len(cells) <= 45:
        found.append(f"{len(cells)} code cells: 25 to 45 are wanted")
    if sum(lines) > 250:
        found.append(f"{sum(lines)} lines of code: at most 250")
    found += [
        f"code cell {n} has {count} lines: at most 40" for n, count in enumerate(lines, 1) if count > 40
    ]
    return found


def enough_asserts(notebook) -> list[str]:
    count = 0
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(source(cell))):
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "attr", getattr(called, "id", ""))
            count += isinstance(node, ast.Assert) or name.startswith("assert_")
    return [] if count >= 8 else [f"{count} asserts: at least 8"]


# What is taught is what runs


class Package:
    """All top-level classes and functions of the package: by name, each with the stem of its module."""

    def __init__(self, folder: Path):
        self.classes: dict[str, list[tuple[str, ast.ClassDef]]] = {}
        self.functions: dict[str, list[tuple[str, ast.FunctionDef]]] = {}
        self.modules: dict[str, list[str]] = {}  # stem of a module -> names that it defines
        for path in sorted(folder.rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                kind = {ast.ClassDef: self.classes, ast.FunctionDef: self.functions}.get(type(node))
                if kind is not None:
                    kind.setdefault(node.name, []).append((path.stem, node))
                    self.modules.setdefault(path.stem, []).append(node.name)


def definitions(notebook) -> tuple[dict[str, ast.ClassDef], dict[str, ast.FunctionDef]]:
    """The notebook's classes, with the methods that later cells add by @method_of, and its functions."""
    classes, functions = {}, {}
    for cell in code_cells(notebook):
        for node in ast.parse(source(cell)).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = node
            elif isinstance(node, ast.FunctionDef):
                owner = next((name for name in map(owner_of, node.decorator_list) if name), None)
                if owner is None:
                    functions[node.name] = node
                elif owner in classes:
                    node.decorator_list = [d for d in node.decorator_list if not owner_of(d)]
                    classes[owner].body.append(node)
    return classes, functions


def owner_of(decorator) -> str | None:
    """Name of the class in `@method_of(Class)`; None for another decorator."""
    if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "method_of":
        return decorator.args[0].id
    return None


def same_as_package(stem: str, notebook, package: Package) -> list[str]:
    """Each class that bears the name of one of the package's must be that one.

    So must each function of the module that the chapter is named after, of the modules whose classes it builds, and
    of those that its metadata name: {"ernie_from_scratch": {"modules": ["optimizer", ...]}}. Comments, docstrings
    and annotations of functions and their local variables may differ. A method may be left to the package when the
    notebook's metadata say so: {"ernie_from_scratch": {"left_to_the_package": ["ErnieTokenizer.decode", ...]}}.
    """
    classes, functions = definitions(notebook)
    left = notebook["metadata"].get("ernie_from_scratch", {}).get("left_to_the_package", [])
    found = []
    for name, own in classes.items():
        theirs = [node for _, node in package.classes.get(name, [])]
        if theirs:
            left_methods = {entry.partition(".")[2] for entry in left if entry.partition(".")[0] == name}
            found += min((class_differences(own, other, left_methods) for other in theirs), key=len)
    taught = set(modules_of(stem, notebook)) | {
        home for name in classes for home, _ in package.classes.get(name, [])
    }
    for name, own in functions.items():
        theirs = [plain(node) for home, node in package.functions.get(name, []) if home in taught]
        if theirs and plain(own) not in theirs:
            found.append(f"{name}() differs from the package's: copy it anew, or give it another name")
    built = classes.keys() & package.classes.keys()
    return found + [
        f"{entry}: no class of this notebook" for entry in left if entry.partition(".")[0] not in built
    ]


def modules_of(stem: str, notebook) -> list[str]:
    """Stems of the modules that the chapter NN_stem teaches: the one of its name, and those in its metadata."""
    return [stem.partition("_")[2], *notebook["metadata"].get("ernie_from_scratch", {}).get("modules", [])]


def class_differences(own: ast.ClassDef, other: ast.ClassDef, left: set[str]) -> list[str]:
    """How the notebook's class differs from the package's; `left` are the members that it says it leaves out."""
    found = []
    if [ast.dump(base) for base in own.bases] != [ast.dump(base) for base in other.bases]:
        found.append(f"{own.name} has other base classes than the package's")
    mine, theirs = members(own), members(other)
    for name, node in mine.items():
        if name not in theirs:
            found.append(f"{own.name}.{name} does not exist in the package")
        elif plain(node) != plain(theirs[name]):
            found.append(f"{own.name}.{name} differs from the package's")
    found += [f"{own.name}.{name} is missing" for name in theirs if name not in mine and name not in left]
    found += [f"{own.name}.{name} is said to be left out, but is not" for name in sorted(left & mine.keys())]
    return found + [f"{own.name}.{name} is left out, but unknown" for name in sorted(left - theirs.keys())]


def members(node: ast.ClassDef) -> dict[str, ast.AST]:
    """Methods by name, and class attributes by their targets."""
    found = {}
    for part in node.body:
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[part.name] = part
        elif isinstance(part, (ast.Assign, ast.AnnAssign)):
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            found[", ".join(ast.unparse(target) for target in targets)] = part
    return found


class Normalizer(ast.NodeTransformer):
    """Drops docstrings and annotations of functions and of their local variables, and writes `super(Class, self)`,
    which a method outside its class needs, as `super()`."""

    def __init__(self):
        self.function_depth = 0

    def visit_FunctionDef(self, node):
        self.function_depth += 1
        self.generic_visit(node)
        self.function_depth -= 1
        node.returns = None
        first = node.body[0]
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            node.body = node.body[1:] or [ast.Pass()]
        return node

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        self.generic_visit(node)
        if self.function_depth == 0 or node.value is None:
            return node
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_Call(self, node):
        self.generic_visit(node)
        if getattr(node.func, "id", "") == "super":
            node.args = []
        return node


def plain(node: ast.AST) -> str:
    """The definition as text that depends on neither comments nor docstrings nor annotations nor layout."""
    return ast.dump(Normalizer().visit(ast.parse(ast.unparse(node)).body[0]))


def teaches_its_module(stem: str, notebook, package: Package) -> list[str]:
    """Chapter NN_stem builds at least one class or function of the module stem.py, if there is such a module.

    So it does of each module that its metadata name, and these exist.
    """
    classes, functions = definitions(notebook)
    own, *named = modules_of(stem, notebook)
    found = [
        f"{stem} names the module {module}, which is not there"
        for module in named
        if module not in package.modules
    ]
    for module in (own, *named):
        taught = package.modules.get(module, [])
        if taught and not set(taught) & (classes.keys() | functions.keys()):
            found.append(f"{stem} defines nothing of the module that it teaches ({', '.join(taught)})")
    return found


def defined_once(notebooks: dict[str, dict], package: Package) -> list[str]:
    """Each of the package's classes is built in one chapter; the later chapters import it."""
    homes: dict[str, list[str]] = {}
    for stem, notebook in notebooks.items():
        for name in definitions(notebook)[0]:
            if name in package.classes:
                homes.setdefault(name, []).append(stem)
    return [f"{name} is built in {' and '.join(stems)}" for name, stems in homes.items() if len(stems) > 1]


EVERYWHERE = (
    executed_in_order,
    no_errors_in_outputs,
    ignored_outputs_have_reasons,
    no_machine_paths,
    runs_on_python3_kernel,
    settings_before_paddle,
)
CHAPTERS_ONLY = (sizes, enough_asserts)
