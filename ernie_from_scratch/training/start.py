"""The start of a process of a run: its device, its connection to the others, its place among the degrees."""

from ernie_from_scratch.parallel.processes import Processes
from ernie_from_scratch.parallel.sharding import check_sharding
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.training.device import select_device
from ernie_from_scratch.training.settings import TrainSettings


def start_processes(settings: TrainSettings) -> tuple[Processes, Strategy]:
    """Select the device, connect the processes and start Fleet with the degrees of the settings.

    Raises:
        UserError: the device is not there, or the degrees can't run on it.
    """
    if settings.device:
        select_device(settings.device)
    processes = Processes.connect()
    strategy = Strategy.start(
        settings.dp_degree or 1,
        settings.sharding_degree,
        settings.mp_degree,
        settings.pp_degree,
        settings.virtual_pp_degree,
    )
    check_sharding(strategy, settings.sharding_stage, settings.offload)
    return processes, strategy
