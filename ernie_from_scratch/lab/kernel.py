"""The notebook kernel `python3`: ipykernel, with the process settings in force before the first cell runs.

`python -m ernie_from_scratch.lab.kernel` writes its kernel.json into this environment (`make setup` does).
Jupyter and nbval then start `python -m ernie_from_scratch.lab.kernel -f CONNECTION_FILE`.
"""

import json
import sys
from pathlib import Path

KERNEL = {
    "argv": ["python", "-m", "ernie_from_scratch.lab.kernel", "-f", "{connection_file}"],
    "display_name": "Python 3 (ernie)",
    "language": "python",
    "metadata": {"debugger": True},
}


def install(prefix: str | Path = sys.prefix) -> Path:
    """Writes kernel.json for the kernel python3 of the environment at `prefix`; returns its path."""
    path = Path(prefix) / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(KERNEL, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def main() -> None:
    if "-f" not in sys.argv:
        print(f"kernel python3: {install()}")
        return
    from ipykernel import kernelapp  # importing this package has applied the settings

    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
