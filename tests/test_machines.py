"""`ernie pretrain` on several machines, made as network namespaces on this one: a cable that is cut loses nothing."""

import shutil
import subprocess

import pytest
from process_helpers import HANG_SECONDS, start, wait_until
from small_corpus import make_corpus, run_settings
from test_processes import command, finish
from test_trainer import outcome

from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel.launch import address_towards, interface_of
from ernie_from_scratch.training.metrics import last_row


@pytest.fixture
def two_hosts():
    """Two network namespaces, joined by a virtual cable; gives a function that makes a command run on host 0 or 1."""
    names, cable = ("efs-host-0", "efs-host-1"), ("efs-cable-0", "efs-cable-1")

    def ip(*words, check=True):
        return subprocess.run(["ip", *words], check=check, capture_output=True)

    if shutil.which("ip") is None or ip("netns", "add", names[0], check=False).returncode:
        pytest.skip("network namespaces need root and iproute2")
    ip("netns", "add", names[1])
    try:
        ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for number, (name, end) in enumerate(zip(names, cable, strict=True)):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield lambda number: (
            ["ip", "netns", "exec", names[number]],
            ["ip", "-n", names[number], "link", "set", cable[number]],
        )
    finally:
        for name in names:
            ip("netns", "del", name, check=False)


@pytest.mark.parallel_all
def test_two_machines_lose_each_other_and_resume(two_hosts, tmp_path):
    """Each has its own folder. The cable is cut: both stop with one line; joined again, the result is the same."""
    corpus = make_corpus(tmp_path)
    values = dict(global_batch_size=16, max_steps=300, checkpoint_steps=20, eval_freq=0, logging_freq=10)
    folders = [tmp_path / "0" / "run", tmp_path / "1" / "run"]

    def start_both():
        processes = []
        for number, folder in enumerate(folders):
            folder.parent.mkdir(exist_ok=True)
            flags = [
                "--nnodes",
                "2",
                "--nproc",
                "1",
                "--master",
                "10.77.0.1:6170",
                "--node_rank",
                str(number),
            ]
            line = [*two_hosts(number)[0], *command(run_settings(corpus, folder, **values), *flags)]
            processes.append(start(line))
        return processes

    def between_checkpoints():
        """While a checkpoint is written, the first machine waits for the second one without a limit."""
        files = [folder / "metrics.jsonl" for folder in folders]
        return all(file.exists() and last_row(file) and last_row(file)["step"] >= 50 for file in files)

    processes = start_both()
    wait_until(between_checkpoints, processes[0])
    cable = two_hosts(0)[1]
    subprocess.run([*cable, "down"], check=True)
    for process in processes:
        log = process.communicate(timeout=HANG_SECONDS)[1].splitlines()
        errors = [line for line in log if line.startswith("error: ") and "of this machine failed" in line]
        assert process.returncode == 2 and len(errors) == 1 and "lost the connection" in errors[0], log
    subprocess.run([*cable, "up"], check=True)
    for process in start_both():
        assert "resuming" in process.communicate(timeout=HANG_SECONDS)[1] and process.returncode == 0
    finish(run_settings(corpus, tmp_path / "straight", **values), "--nproc", "2")
    assert outcome(folders[0]) == outcome(folders[1]) == outcome(tmp_path / "straight")


def test_addresses():
    assert address_towards("127.0.0.1:80") == "127.0.0.1" and interface_of("127.0.0.1") == "lo"
    with pytest.raises(UserError, match="no network interface"):
        interface_of("192.0.2.1")
    with pytest.raises(UserError, match="--master no.such.host.invalid:1: no way there"):
        address_towards("no.such.host.invalid:1")
