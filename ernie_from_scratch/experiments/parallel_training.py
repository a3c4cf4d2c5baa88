"""A few steps of pretraining in one process, or in several under any degrees: what the parallel chapters compare.

`train_in_processes` runs this file as the script of each process.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ernie_from_scratch as efs

# isort: split
import paddle
from paddle.distributed.fleet.meta_parallel.pipeline_parallel import (
    PipelineParallelMicroStepLocations,
    register_global_pipeline_parallel_hook,
)

from ernie_from_scratch.dataset.batch import to_tensors
from ernie_from_scratch.dataset.pretraining_data import PretrainingData
from ernie_from_scratch.experiments.demo.settings import DemoSettings
from ernie_from_scratch.experiments.demo.text_stages import write_prepared, write_recipe, write_vocabulary
from ernie_from_scratch.experiments.parallel_runs import run_script
from ernie_from_scratch.objectives import MaskedLMWithPair
from ernie_from_scratch.parallel.network import Float32, ParallelNetwork
from ernie_from_scratch.parallel.processes import leave
from ernie_from_scratch.parallel.resharding import gather
from ernie_from_scratch.parallel.sharding import parallel_optimizer
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.training.optimizer import build_optimizer, optimizer_state
from ernie_from_scratch.training.seeds import micro_batch_seed

if TYPE_CHECKING:
    from ernie_from_scratch.dataset.source import Split

SEED, LEARNING_RATE = 1234, 2e-3
OBJECTIVE = MaskedLMWithPair()
MAX_SEQ_LEN = 48

Batches = list[list[dict]]  # for each step its micro batches, dicts of arrays


def facts_data(folder: str | os.PathLike) -> tuple[efs.Vocabulary, Split]:
    """Prepare sentences about 12 facts in `folder` (prefix facts); returns the vocabulary and the training split."""
    folder = Path(folder)
    write_recipe(DemoSettings(facts=12, sentences=600), folder / "corpus.jsonl")
    write_vocabulary(folder / "corpus.jsonl", folder / "vocab.txt")
    write_prepared(folder / "corpus.jsonl", folder / "facts", folder / "vocab.txt", segmenter="none")
    vocabulary = efs.Vocabulary.load(folder / "vocab.txt")
    sampling: dict[str, Any] = dict(
        split="90,10,0", max_seq_len=MAX_SEQ_LEN, masking="char", max_ngrams=1, seed=SEED
    )
    return vocabulary, PretrainingData([(1.0, folder / "facts")], vocabulary, **sampling)["train"]


def batches_of(data: Split, steps: int, micro_batches: int, rows: int) -> Batches:
    """The first `steps` x `micro_batches` x `rows` samples of a split, in order, as micro batches."""
    numbers = np.arange(steps * micro_batches * rows).reshape([steps, micro_batches, rows])
    return [[data.batch(samples) for samples in step] for step in numbers]


def new_model(config: efs.ErnieConfig) -> efs.ErnieForPretraining:
    """The network at the start of every run: always the same weights."""
    paddle.seed(SEED)
    return efs.ErnieForPretraining(config)


def new_optimizer(model: paddle.nn.Layer) -> paddle.optimizer.AdamW:
    """AdamW with an epsilon that is larger than rounding errors.

    The gradient of key biases is zero apart from rounding; with the usual 1e-8, AdamW would turn that into full steps.
    """
    return build_optimizer(model, LEARNING_RATE, epsilon=1e-6)


def train_in_one_process(
    config: efs.ErnieConfig, batches: Batches
) -> tuple[list[float], efs.ErnieForPretraining, paddle.optimizer.AdamW]:
    """One optimizer step for each list of micro batches, without any code of parallel/.

    Returns:
        The loss of each step, the model after the last one, and the optimizer.
    """
    model, step_losses = new_model(config), []
    optimizer = new_optimizer(model)
    for step, micro_batches in enumerate(batches):
        losses = []
        for number, batch in enumerate(micro_batches):
            paddle.seed(micro_batch_seed(SEED, step, number))
            losses.append(OBJECTIVE(model, to_tensors(batch)).total)
            (losses[-1] / len(micro_batches)).backward()
        optimizer.step()
        optimizer.clear_grad()
        step_losses.append(float(sum(losses)) / len(losses))
    return step_losses, model, optimizer


def train_in_processes(
    config: efs.ErnieConfig, batches: Batches, folder: str | os.PathLike, **degrees: int
) -> tuple[list[dict], dict[str, paddle.Tensor]]:
    """The same steps in as many processes as the product of `degrees` (dp, sharding, mp, pp).

    Returns:
        The report of each process, in the order of ranks, and the full weights after the last step {name: tensor}.
        A report is a dict with `losses` (of each step); `shapes` and `moments` {name of a parameter that this process
        holds: its shape, bytes of its optimizer state}; and `passes`, of a pipeline's last step: ("F" or "B", number
        of the micro batch, start, end), in milliseconds after the first pass of all processes.

    Raises:
        UserError: a process failed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config.save(folder)
    (folder / "batches.pkl").write_bytes(pickle.dumps([batches, degrees]))
    reports = run_script(Path(__file__), folder, processes=int(np.prod(list(degrees.values()))))
    begin = min((start for report in reports for _, _, start, _ in report["passes"]), default=0)
    for report in reports:
        report["passes"] = [
            (kind, number, 1000 * (start - begin), 1000 * (end - begin))
            for kind, number, start, end in report["passes"]
        ]
    return reports, paddle.load(str(folder / "weights.pdparams"))


class PassRecorder:
    """Records when Fleet's pipeline starts and ends each forward and backward pass.

    Attributes:
        passes: [kind "F" or "B", number of the micro batch, start, end] in seconds of this machine's clock.
    """

    def __init__(self):
        self.reset()
        places = PipelineParallelMicroStepLocations
        register_global_pipeline_parallel_hook(places.FORWARD_BEGIN, self._begin("F"))
        register_global_pipeline_parallel_hook(places.FORWARD_END, self._end)
        register_global_pipeline_parallel_hook(places.BACKWARD_BEGIN, self._begin("B"))
        register_global_pipeline_parallel_hook(places.BACKWARD_END, self._end)

    def reset(self) -> None:
        """Forget the passes of the last step."""
        self.passes: list[list] = []
        self._counts = {"F": 0, "B": 0}

    def _begin(self, kind: str) -> Callable[..., None]:
        def hook(**_: object) -> None:
            self.passes.append([kind, self._counts[kind], time.monotonic(), None])
            self._counts[kind] += 1

        return hook

    def _end(self, **_: object) -> None:
        self.passes[-1][3] = time.monotonic()


def main(folder: Path) -> None:
    """One of the processes: train on what `train_in_processes` has written to `folder`, and print the report."""
    batches, degrees = pickle.loads((folder / "batches.pkl").read_bytes())
    strategy = Strategy.start(**degrees)
    model = new_model(efs.ErnieConfig.from_file(folder))
    network, step_losses = ParallelNetwork(model, strategy, OBJECTIVE), []
    optimizer = parallel_optimizer(network, new_optimizer(model))
    recorder = PassRecorder()
    for step, micro_batches in enumerate(batches):
        recorder.reset()
        numbers = range(strategy.data_rank, len(micro_batches), strategy.data_world)
        seeds = [micro_batch_seed(SEED, step, number) for number in numbers]
        losses, _ = network.train_step([micro_batches[number] for number in numbers], seeds, Float32())
        step_losses.append(float(losses[0]))
        optimizer.step()
        optimizer.clear_grad()
    weights = gather(network, model.state_dict())
    if weights is not None:
        paddle.save(weights, str(folder / "weights.pdparams"))
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    moments = dict.fromkeys(shapes, 0)
    for name, tensor in optimizer_state(model, optimizer)["tensors"].items():
        if ".moment" in name:
            moments[name.rpartition(".")[0]] += 4 * tensor.size
    report = {"losses": step_losses, "shapes": shapes, "moments": moments, "passes": recorder.passes}
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave()
