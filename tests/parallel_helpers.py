"""Starting a worker script of the tests in several CPU processes."""

from process_helpers import HANG_SECONDS

from ernie_from_scratch.parallel.launch import run_script


def launch(worker, folder, processes, *arguments):
    """Run `worker FOLDER ARGUMENTS`; returns the exit code and the end of what the processes printed."""
    code = run_script(
        worker, [folder, *arguments], processes, folder / "logs", on_cpu=True, seconds=HANG_SECONDS
    )
    logs = (folder / "logs").glob("workerlog.*")
    return code, "".join(log.read_text(errors="replace")[-3000:] for log in logs)
