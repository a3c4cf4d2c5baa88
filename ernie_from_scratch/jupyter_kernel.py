"""The notebook kernel `python3`: ipykernel, with the process settings applied before the first cell runs.

`python -m ernie_from_scratch.jupyter_kernel` writes its kernel.json into this environment (`make setup` calls it).
Jupyter and nbval then start `python -m ernie_from_scratch.jupyter_kernel -f CONNECTION_FILE`.
"""

import json
import sys
from pathlib import Path

from ernie_from_scratch.utils.files import atomic_write

MODULE = "ernie_from_scratch.jupyter_kernel"
KERNEL = {
    "argv": ["python", "-m", MODULE, "-f", "{connection_file}"],
    "display_name": "Python 3 (ernie)",
    "language": "python",
    "metadata": {"debugger": True},
}


def install(prefix: str | Path = sys.prefix) -> Path:
    """Write kernel.json of the kernel `python3` into the environment at `prefix`; returns its path."""
    path = Path(prefix) / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(KERNEL, indent=1) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Install the kernel, or run it if Jupyter has given a connection file (-f)."""
    if "-f" not in sys.argv:
        print(f"kernel python3: {install()}")
        return
    from ipykernel import kernelapp  # the import of this package has applied the settings

    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
