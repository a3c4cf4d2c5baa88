"""`ernie`: imports only the subcommand that is named, and turns mistakes into one line and an exit code."""

import errno
import importlib
import io
import os
import pkgutil
import sys
from types import ModuleType

import ernie_from_scratch
from ernie_from_scratch import commands
from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel.launch import launched_processes
from ernie_from_scratch.utils.command_line import parse
from ernie_from_scratch.utils.settings import nearest

FRAME = ("main",)  # files of this folder that are not subcommands
# The order of `ernie --help`: the way a user goes. Commands that are not named here come after.
JOURNEY = (
    "demo doctor vocab prepare pretrain finetune evaluate predict export serve convert plan report".split()
)
# Refusals of the system that the user can mend; they end in one line like a UserError.
SYSTEM_ERRORS = {
    errno.ENOSPC: "free some space on the disk, or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space, or choose another folder",
    errno.EACCES: "choose a file or folder that you may read and write",
    errno.EPERM: "choose a file or folder that you may read and write",
    errno.EROFS: "choose a folder on a disk that can be written",
}


def main(argv: list[str] | None = None) -> int:
    """Runs `ernie ARGV...`; one of several processes that Paddle's launcher has started ends here.

    Returns the exit code: 0 done, 2 a mistake of the user's (one line on stderr), 130 interrupted, 141 nobody
    reads the output any more. Other exceptions are bugs and keep their traceback.
    """
    code = guarded(sys.argv[1:] if argv is None else list(argv))
    if argv is None and launched_processes() > 1:
        from ernie_from_scratch.parallel.processes import leave

        leave(code)
    return code


def guarded(argv: list[str]) -> int:
    """Dispatches, and turns what the user can mend into one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that is not UTF-8 shows \uXXXX for Chinese
            stream.reconfigure(errors="backslashreplace")
    try:
        code = dispatch(argv)
        sys.stdout.flush()
        return code
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (
        BrokenPipeError
    ):  # `ernie ... | head`; point stdout elsewhere, as Python flushes it once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in SYSTEM_ERRORS:
            raise
        place = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror}{place}; {SYSTEM_ERRORS[error.errno]}")


def _fail(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2


def dispatch(argv: list[str]) -> int:
    """Finds the command, parses its flags, runs it; returns its exit code."""
    if not argv or argv in (["-h"], ["--help"], ["help"]):
        print(overview())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"ernie_from_scratch {ernie_from_scratch.__version__}")
        return 0
    if argv[0] == "help":
        argv = [argv[1], "--help"]
    name, names = argv[0].replace("_", "-"), command_names()
    if name not in names:
        what = "flag before the command" if name.startswith("-") else "command"
        raise UserError(
            f"unknown {what}: {argv[0]}; {nearest(name, names, '`ernie --help` lists the commands')}"
        )
    module = load(name)
    try:
        settings = parse(f"ernie {name}", module.HELP.strip(), module.SETTINGS, argv[1:])
    except SystemExit as leave:  # --help has been printed
        return int(leave.code or 0)
    return module.run(*settings) or 0


def command_names() -> list[str]:
    """Names of the subcommands, which are the files of this folder, in the order of the journey."""
    names = {module.name for module in pkgutil.iter_modules(commands.__path__)}.difference(FRAME)
    known = [name for name in JOURNEY if name in names]
    return [name.replace("_", "-") for name in known + sorted(names.difference(known))]


def load(name: str) -> ModuleType:
    return importlib.import_module(f"{commands.__name__}.{name.replace('-', '_')}")


def overview() -> str:
    """What `ernie --help` prints: one line per command, from the first line of its HELP."""
    names = command_names()
    width = max(map(len, names))
    lines = [f"  {name:<{width}}  {load(name).HELP.strip().splitlines()[0]}" for name in names]
    return "\n".join(
        [
            "usage: ernie COMMAND [flags]",
            "",
            "Commands, in the order of a model's life:",
            *lines,
            "",
            "Examples:",
            "  ernie demo                     the whole path on the text that ships, in minutes",
            "  ernie doctor                   what this machine has, and what to do about what it lacks",
            "  ernie pretrain --help          flags and examples of one command",
        ]
    )
