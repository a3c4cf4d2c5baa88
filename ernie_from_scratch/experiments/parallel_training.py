"""A few steps of pretraining, plainly or spread over processes: what the parallel chapters compare.

Started by Paddle's launcher as a script, this file is one of the processes.
"""

import json
import pickle
import sys
import time
from pathlib import Path

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
from ernie_from_scratch.parallel.resharding import gather
from ernie_from_scratch.parallel.sharding import parallel_optimizer
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.training.optimizer import build_optimizer, optimizer_state
from ernie_from_scratch.training.seeds import micro_batch_seed

SEED, RATE = 1234, 2e-3
OBJECTIVE = MaskedLMWithPair()
LENGTH = 48  # tokens of a row, at most


def facts_data(folder):
    """A corpus of 12 facts told in sentences, made in `folder` (prefix facts): its vocabulary and training split."""
    folder = Path(folder)
    write_recipe(DemoSettings(facts=12, sentences=600), folder / "corpus.jsonl")
    write_vocabulary(folder / "corpus.jsonl", folder / "vocab.txt")
    write_prepared(folder / "corpus.jsonl", folder / "facts", folder / "vocab.txt", segmenter="none")
    vocabulary = efs.Vocabulary.load(folder / "vocab.txt")
    sampling = dict(split="90,10,0", max_seq_len=LENGTH, masking="char", max_ngrams=1, seed=SEED)
    return vocabulary, PretrainingData([(1.0, folder / "facts")], vocabulary, **sampling)["train"]


def batches_of(data, steps, micro_batches, rows):
    """For each step its micro batches of so many rows, as dicts of arrays, in the order of the samples."""
    numbers = np.arange(steps * micro_batches * rows).reshape([steps, micro_batches, rows])
    return [[data.batch(samples) for samples in step] for step in numbers]


def new_model(config):
    """The network that every run begins with: always the same numbers."""
    paddle.seed(SEED)
    return efs.ErnieForPretraining(config)


def new_optimizer(model):
    # The gradient of key biases is zero but for rounding: the usual epsilon, 1e-8, would make whole steps of that.
    return build_optimizer(model, RATE, epsilon=1e-6)


def train_plainly(config, batches):
    """One optimizer step for each list of micro batches, in this process, with no line of parallel/.

    Returns:
        The loss of each step, the model after the last, and the optimizer.
    """
    model, rows = new_model(config), []
    optimizer = new_optimizer(model)
    for step, micro_batches in enumerate(batches):
        losses = []
        for number, batch in enumerate(micro_batches):
            paddle.seed(micro_batch_seed(SEED, step, number))
            losses.append(OBJECTIVE(model, to_tensors(batch)).total)
            (losses[-1] / len(micro_batches)).backward()
        optimizer.step()
        optimizer.clear_grad()
        rows.append(float(sum(losses)) / len(losses))
    return rows, model, optimizer


def train_in_processes(config, batches, folder, **degrees):
    """The same in as many processes as the product of `degrees` (dp, sharding, mp, pp).

    Returns:
        What each process reports, in the order of ranks, and the whole weights after the last step {name: tensor}.
        A report is a dict of `losses`, of `shapes` and `moments` {name of a parameter that it holds: shape, bytes of
        optimizer state}, and of `passes`: of a pipeline's last step ["F" or "B", number of the micro batch, start,
        end], in milliseconds after the first pass of all.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config.save(folder)
    (folder / "batches.pkl").write_bytes(pickle.dumps([batches, degrees]))
    reports = run_script(
        Path(__file__).read_text(encoding="utf8"), folder, processes=int(np.prod(list(degrees.values())))
    )
    begin = min((start for report in reports for _, _, start, _ in report["passes"]), default=0)
    for report in reports:
        report["passes"] = [
            (kind, number, 1000 * (start - begin), 1000 * (end - begin))
            for kind, number, start, end in report["passes"]
        ]
    return reports, paddle.load(str(folder / "whole.pdparams"))


def _record_passes():
    """A list that Fleet's pipeline fills: [kind, number, start, end] of each pass, by the clock of this machine."""
    passes, counts, places = [], {"F": 0, "B": 0}, PipelineParallelMicroStepLocations

    def begin(kind):
        def hook(**_):
            passes.append([kind, counts[kind], time.monotonic(), None])
            counts[kind] += 1

        return hook

    def end(**_):
        passes[-1][3] = time.monotonic()

    register_global_pipeline_parallel_hook(places.FORWARD_BEGIN, begin("F"))
    register_global_pipeline_parallel_hook(places.FORWARD_END, end)
    register_global_pipeline_parallel_hook(places.BACKWARD_BEGIN, begin("B"))
    register_global_pipeline_parallel_hook(places.BACKWARD_END, end)
    return passes, counts


def main(folder):
    """One process: train as `folder` says, and print the report."""
    batches, degrees = pickle.loads((folder / "batches.pkl").read_bytes())
    strategy = Strategy.start(**degrees)
    model = new_model(efs.ErnieConfig.from_file(folder))
    network, losses = ParallelNetwork(model, strategy, OBJECTIVE), []
    optimizer = parallel_optimizer(network, new_optimizer(model))
    passes, counts = _record_passes()
    for step, micro_batches in enumerate(batches):
        passes.clear()
        counts.update(F=0, B=0)
        mine = range(strategy.data_rank, len(micro_batches), strategy.data_world)
        seeds = [micro_batch_seed(SEED, step, number) for number in mine]
        found, _ = network.train_step([micro_batches[number] for number in mine], seeds, Float32())
        losses.append(float(found[0]))
        optimizer.step()
        optimizer.clear_grad()
    whole = gather(network, model.state_dict())
    if whole is not None:
        paddle.save(whole, str(folder / "whole.pdparams"))
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    moments = dict.fromkeys(shapes, 0)
    for name, tensor in optimizer_state(model, optimizer)["tensors"].items():
        if ".moment" in name:
            moments[name.rpartition(".")[0]] += 4 * tensor.size
    print(json.dumps({"losses": losses, "shapes": shapes, "moments": moments, "passes": passes}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
