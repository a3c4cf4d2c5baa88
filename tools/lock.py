"""`make lock`: resolves pyproject.toml into requirements.lock, one set for Python 3.10 to 3.12 (needs uv).

Versions that are in the lock already stay where they can; delete the lock first to take the newest of all.
environment.yml is written from the same set, and a test keeps the two equal.
"""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("paddlenlp", "text", "deploy", "dev")
HEADER = """\
# The exact set of versions that is tested, with all extras: Python 3.10, 3.11, 3.12 on Linux and macOS.
# Written by `make lock` from pyproject.toml, which says what each direct dependency is for.
"""
CONDA = """\
# The set of requirements.lock for conda and AI Studio; written with it by `make lock`.
#   conda env create -f environment.yml && conda activate ernie && pip install --no-deps -e .
name: ernie
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - cxx-compiler  # builds the C++ helpers
  - pip:
"""
GPU = "      # GPU machine: paddlepaddle-gpu=={version} instead of the line above, see Paddle's install page"
EITHER = "sys_platform == 'darwin' or sys_platform == 'linux'"
SAME_ON_BOTH = re.compile(r"\((.+) and sys_platform == 'darwin'\) or \(\1 and sys_platform == 'linux'\)")


def resolve() -> list[str]:
    """`name==version` lines, with a marker where a version is for some Pythons only."""
    command = ["uv", "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.10", "--quiet"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--output-file", "requirements.lock"]
    subprocess.run([*command, *(f"--extra={extra}" for extra in EXTRAS)], cwd=ROOT, check=True)
    return (ROOT / "requirements.lock").read_text().splitlines()


def simplified(line: str) -> str:
    """The line without the part of its marker that is true on Linux and macOS alike."""
    requirement, _, marker = line.partition(" ; ")
    marker = SAME_ON_BOTH.sub(r"\1", marker).removesuffix(f" and ({EITHER})")
    return requirement if marker in ("", EITHER) else f"{requirement} ; {marker}"


def conda_environment(lines: list[str]) -> str:
    entries = []
    for line in lines:
        entries.append(f'      - "{line}"' if ";" in line else f"      - {line}")
        if line.startswith("paddlepaddle=="):
            entries.append(GPU.format(version=line.partition("==")[2]))
    return CONDA + "\n".join(entries) + "\n"


if __name__ == "__main__":
    lines = [simplified(line) for line in resolve() if not line.startswith("#")]
    (ROOT / "requirements.lock").write_text(HEADER + "\n".join(lines) + "\n")
    (ROOT / "environment.yml").write_text(conda_environment(lines))
