"""Starting one command in several processes through Paddle's launcher, and ending them together."""

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ernie_from_scratch
from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.settings import Settings, option

SCRIPT = Path(ernie_from_scratch.__file__).with_name("__main__.py")
POLL_SECONDS = 0.2
SHOW_WAITING_SECONDS = 10
INTERRUPTED = 130  # exit code of a command that was stopped by a signal
PDEATHSIG = 1  # number of prctl's option in linux/prctl.h
# Paddle's own, in every process: its greeting about changed flags, and what a signal that it did not expect leaves
NOISE = re.compile(
    r"={5,}|FLAGS\(|-{5,}|I\d{4} |C\+\+ Traceback|Error Message Summary|No stack trace|FatalError|  \["
)


flag = partial(option, group="several processes")


@dataclass
class LaunchSettings(Settings):
    """How many processes to start, and where; `check()` raises UserError before any is started."""

    nproc: int | None = flag(
        None,
        "start so many processes on this machine: on its GPUs where Paddle sees some, else on its CPU",
        aliases=("nproc_per_node",),
        minimum=1,
    )
    gpus: str | None = flag(None, "start one process on each of these GPUs: 0,1,2,3", aliases=("devices",))
    nnodes: int = flag(1, "machines; start the same command on each", minimum=1)
    master: str | None = flag(None, "HOST:PORT of the first machine, the same on each; a free port there")
    node_rank: int | None = flag(
        None, "number of this machine, 0 is the one of --master; default: as they come"
    )
    log_dir: str | None = flag(
        None, "folder of what each process prints; default: logs in --output_dir", path=True
    )

    def check(self) -> "LaunchSettings":
        """As `Settings.check`; also that the flags agree and the first machine can be found."""
        super().check()
        if self.nproc is not None and self.gpus is not None and self.nproc != len(self.gpu_numbers):
            raise UserError(f"--nproc {self.nproc} and --gpus {self.gpus} contradict; keep one")
        if self.nnodes > 1 and not re.fullmatch(r"[^:\s]+:\d+", self.master or ""):
            raise UserError(
                f"--nnodes {self.nnodes} needs --master HOST:PORT, an address of the first machine with a free "
                f"port, the same on each; found {self.master}"
            )
        return self

    @property
    def gpu_numbers(self) -> list[str]:
        numbers = (self.gpus or "").strip()
        if not re.fullmatch(r"\d+(,\d+)*", numbers):
            raise UserError(f"--gpus is {self.gpus!r}; give numbers as in 0,1,2,3")
        return numbers.split(",")

    @property
    def here(self) -> int | None:
        """Processes on this machine; None when no flag asks for several."""
        if self.gpus is not None:
            return len(self.gpu_numbers)
        return self.nproc or (1 if self.nnodes > 1 else None)

    @property
    def processes(self) -> int | None:
        """Processes on all machines; None when no flag asks for several."""
        return self.here and self.here * self.nnodes


def launch(
    settings: LaunchSettings,
    arguments: Sequence[str],
    log_dir: str | os.PathLike,
    on_cpu: bool,
    stop: Any,
    show: Callable[[str], None],
) -> None:
    """Run `ernie ARGUMENTS` in the processes that `settings` describe; returns when all have ended.

    Args:
        settings: a checked `LaunchSettings`.
        log_dir: folder for what each process prints, a file `workerlog.N` each.
        on_cpu: compute on the CPU even where there are GPUs.
        stop: object whose `requested` turns true when all are to finish their step, save and leave.
        show: called with each line that the first process of this machine prints.

    Raises:
        UserError: one of them failed, all have been ended, and this says which and why.
        KeyboardInterrupt: they were stopped by a signal and left unfinished work.
    """
    log_dir = Path(log_dir)
    environment = dict(os.environ)
    command = [*_launcher_command(log_dir), "--nnodes", str(settings.nnodes)]
    if settings.gpus is not None:
        command += ["--devices", settings.gpus.strip()]
    command += ["--nproc_per_node", str(settings.here)]
    if settings.master:
        here = address_towards(settings.master)
        command += ["--master", settings.master, "--host", here]
        environment.setdefault("GLOO_SOCKET_IFNAME", interface_of(here))
    if settings.node_rank is not None:
        command += ["--rank", str(settings.node_rank)]
    if on_cpu or environment.get("CUDA_VISIBLE_DEVICES") == "":
        environment |= on_cpu_alone(settings.here or 1)
    with open(log_dir / "launcher.log", "wb") as output:
        launcher = subprocess.Popen(
            [*command, str(SCRIPT), *arguments],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on in good order
            preexec_fn=_die_with_parent,
        )
    try:
        _watch(launcher, log_dir, stop, show)
    finally:
        _end(launcher)
    if launcher.returncode:
        rank, code = first_failure(log_dir, launcher.returncode)
        if stop.requested and code in (-signal.SIGTERM, INTERRUPTED):
            raise KeyboardInterrupt
        raise UserError(_reason(log_dir, rank, code))


def run_script(
    script: str | os.PathLike,
    arguments: Sequence[object],
    processes: int,
    log_dir: str | os.PathLike,
    on_cpu: bool | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> int:
    """Run a Python script in several connected processes on this machine; returns when all have ended.

    What process N prints is in `log_dir/workerlog.N`, what Paddle's launcher prints in `log_dir/launcher.log`. If
    this function is left by an exception (Ctrl-C, for one), all processes are killed.

    Args:
        on_cpu: compute on the CPU; default: only if this machine has fewer GPUs than `processes`.
        environment: of the processes; default: this process's, with one thread per process.
        seconds: limit of the running time; default: none.

    Returns:
        The launcher's exit code, 0 if every process has succeeded; `first_failure` names the one that failed first.

    Raises:
        UserError: the processes were still running after `seconds`.
    """
    import psutil

    if on_cpu is None:
        import paddle

        on_cpu = paddle.device.cuda.device_count() < processes
    environment = dict(os.environ, OMP_NUM_THREADS="1") if environment is None else dict(environment)
    if on_cpu:
        environment |= on_cpu_alone(processes)
    log_dir = Path(log_dir)
    command = [*_launcher_command(log_dir), "--nproc_per_node", str(processes)]
    command += [str(word) for word in (script, *arguments)]
    with open(log_dir / "launcher.log", "wb") as output:
        launcher = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent
        )
    try:
        return launcher.wait(seconds)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"not done after {seconds} s; {log_dir} holds what the processes have printed"
        ) from None
    finally:
        if launcher.poll() is None:  # the processes are in sessions of their own, out of reach of killpg
            for process in [*psutil.Process(launcher.pid).children(recursive=True), launcher]:
                process.kill()
            launcher.wait()


def _launcher_command(log_dir):
    """The command line of Paddle's launcher up to its own flags; removes the logs of an earlier start."""
    log_dir.mkdir(parents=True, exist_ok=True)
    for old in log_dir.glob("workerlog.*"):
        old.unlink()
    return [sys.executable, "-m", "paddle.distributed.launch", "--log_dir", str(log_dir)]


def on_cpu_alone(processes: int) -> dict[str, str]:
    """Environment in which Paddle's launcher starts so many processes on the CPU, whatever GPUs there are."""
    # the launcher counts names, one for each process; CUDA sees none
    return {"CUDA_VISIBLE_DEVICES": ",".join(["-1"] * processes), "PADDLE_DISTRI_BACKEND": "gloo"}


def address_towards(master: str) -> str:
    """This machine's address on the network of HOST:PORT (the launcher would take the one of the host's name)."""
    host, _, port = master.rpartition(":")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # nothing is sent
            probe.connect((host, int(port)))
            return probe.getsockname()[0]
    except OSError as error:
        raise UserError(
            f"--master {master}: no way there ({error}); give an address of the first machine"
        ) from error


def interface_of(address: str) -> str:
    """Name of the network interface with this address: Gloo would take the one of the host's name."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if address in (each.address for each in addresses):
            return name
    raise UserError(f"no network interface of this machine has the address {address}; check --master")


def launched_processes() -> int:
    """Processes that Paddle's launcher has started for this run; 1 without the launcher."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM") or 1)


def _die_with_parent():
    """On Linux the launcher gets SIGTERM, and passes it on, when the process that started it is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGTERM)


def _watch(launcher, log_dir, stop, show):
    """Show the first process's lines and pass a stop on, until the launcher has ended."""
    position, stop_sent, waiting = 0, False, time.monotonic() + SHOW_WAITING_SECONDS
    while True:
        running = launcher.poll() is None
        position = _follow(log_dir / "workerlog.0", position, show, last=not running)
        if not running:
            return
        if stop.requested and not stop_sent:
            _tell_to_stop(launcher)
            stop_sent = True
        if time.monotonic() > waiting and not (log_dir / "workerlog.0").exists():
            show(f"waiting for the other machines; {log_dir / 'launcher.log'} has what the launcher says")
            waiting = time.monotonic() + 60
        time.sleep(POLL_SECONDS)


def _follow(file, position, show, last):
    """Show the complete lines of `file` after byte `position`; returns the byte after them."""
    if not file.exists():
        return position
    with open(file, "rb") as log:
        log.seek(position)
        lines = log.read().split(b"\n")
    for line in lines if last else lines[:-1]:
        text = line.decode("utf-8", errors="replace")
        if text.strip() and not NOISE.match(text):
            show(text)
    return position + sum(len(line) + 1 for line in lines[:-1])


def _tell_to_stop(launcher):
    """SIGTERM to each training process (the launcher would give them too little time), or to the launcher alone."""
    import psutil

    try:
        workers = psutil.Process(launcher.pid).children()
    except psutil.NoSuchProcess:
        return
    for process in workers or [launcher]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()


def _end(launcher):
    """End the launcher and its processes, however this was left."""
    if launcher.poll() is None:
        launcher.terminate()  # it passes the signal on and waits for them
        try:
            launcher.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(launcher.pid, signal.SIGKILL)
            launcher.wait()


def first_failure(log_dir: Path, code: int) -> tuple[int | None, int]:
    """Number on this machine and exit code of the process that failed first; (None, `code`) if none did."""
    launcher = (log_dir / "launcher.log").read_text(errors="replace")
    failed = re.search(r"Container rank (\d+) status failed .* code (-?\d+) log", launcher)
    return (int(failed[1]), int(failed[2])) if failed else (None, code)


def _reason(log_dir, rank, code):
    """One line about the process that failed first: its own error line, or how it ended."""
    if rank is None:
        return f"the launcher ended with exit code {code}; see {log_dir / 'launcher.log'}"
    log = log_dir / f"workerlog.{rank}"
    said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("error: ")]
    if said:
        reason = said[-1].removeprefix("error: ")
    elif code < 0:
        reason = f"it was killed by signal {-code} ({signal.Signals(-code).name})"
        reason += "; out of memory?" if -code == signal.SIGKILL else ""
    else:
        reason = f"exit code {code}"
    return (
        f"process {rank} of this machine failed: {reason}; all have been ended, {log} holds what it printed, and the "
        "same command continues from the last checkpoint"
    )
