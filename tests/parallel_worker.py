"""Training under some degrees, and plainly, on the same micro batches: what tests/test_parallel_training.py compares.

Paddle's launcher starts it as `parallel_worker.py FOLDER`, with case.json in FOLDER and batches.pkl beside it.
"""

import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np

import ernie_from_scratch  # noqa: F401  (applies the process settings before paddle)

# isort: split
import paddle

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.dataset.batch import to_tensors, token_count
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.objectives import MaskedLMWithPair
from ernie_from_scratch.parallel.network import Float32, ParallelNetwork
from ernie_from_scratch.parallel.processes import leave
from ernie_from_scratch.parallel.resharding import gather, take_own
from ernie_from_scratch.parallel.sharding import parallel_optimizer
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.training.optimizer import (
    build_optimizer,
    gradient_norm,
    load_optimizer_state,
    optimizer_state,
)
from ernie_from_scratch.training.schedule import WarmupDecay
from ernie_from_scratch.training.seeds import micro_batch_seed

STEPS, HALF, SEED = 12, 6, 5
OBJECTIVE = MaskedLMWithPair()


def build(case):
    paddle.seed(SEED)
    model = ErnieForPretraining(ErnieConfig(**case["network"]))
    model.train()
    return model


def adamw(model):
    schedule = WarmupDecay(3e-3, 1e-4, warmup_steps=2, decay_steps=STEPS)
    # The gradient of key biases is zero but for rounding: the usual epsilon, 1e-8, would make whole steps of that.
    return build_optimizer(model, schedule, weight_decay=0.05, grad_clip=0.5, epsilon=1e-6), schedule


def evaluated(network, batch):
    network.eval()
    losses = OBJECTIVE(network, to_tensors(batch))
    network.train()
    return [float(value) for value in (losses.total, *losses.metrics.values())]


class Plain:
    """One process and no line of parallel/."""

    def __init__(self, case):
        self.model = build(case)
        self.optimizer, self.schedule = adamw(self.model)

    def steps(self, batches, first, last):
        """Losses and gradient norms of the steps."""
        rows = []
        for step in range(first, last):
            micro = batches[step]
            sums = np.zeros(3)
            for number, batch in enumerate(micro):
                paddle.seed(micro_batch_seed(SEED, step, number))
                losses = OBJECTIVE(self.model, to_tensors(batch))
                (losses.total / len(micro)).backward()
                sums += [float(value) for value in (losses.total, *losses.metrics.values())]
            rows.append([*(sums / len(micro)), gradient_norm(self.model)])
            self.optimizer.step()
            self.optimizer.clear_grad()
            self.schedule.step()
        return rows

    def state(self):
        return {"weights": self.model.state_dict(), **optimizer_state(self.model, self.optimizer)}

    def load(self, state):
        self.model.set_state_dict(state["weights"])
        load_optimizer_state(self.model, self.optimizer, state)

    def evaluate(self, batch):
        return evaluated(self.model, batch)


class Parallel(Plain):
    """The same through ParallelNetwork; `state` gives complete tensors, `load` takes them."""

    def __init__(self, case):
        self.strategy = Strategy.start(**case["degrees"])
        stage = case.get("sharding_stage", 1)
        self.network = ParallelNetwork(build(case), self.strategy, OBJECTIVE, stage)
        self.model = self.network.model
        optimizer, self.schedule = adamw(self.model)
        self.optimizer = parallel_optimizer(self.network, optimizer, stage)

    def steps(self, batches, first, last):
        rows = []
        for step in range(first, last):
            numbers = range(self.strategy.data_rank, len(batches[step]), self.strategy.data_world)
            seeds = [micro_batch_seed(SEED, step, number) for number in numbers]
            losses, tokens = self.network.train_step([batches[step][n] for n in numbers], seeds, Float32())
            assert tokens == sum(token_count(batch) for batch in batches[step])
            rows.append([*losses.tolist(), self.network.gradient_norm()])
            self.optimizer.step()
            self.optimizer.clear_grad()
            self.schedule.step()
        return rows

    def state(self):
        own = optimizer_state(self.model, self.optimizer)
        weights, moments = gather(self.network, self.model.state_dict()), gather(self.network, own["tensors"])
        return {"weights": weights, "tensors": moments, "scheduler": own["scheduler"]}

    def load(self, state):
        own = {name: take_own(self.network, state[name]) for name in ("weights", "tensors")}
        super().load({**state, **own})

    def evaluate(self, batch):
        return evaluated(self.network, batch)


def train_and_resume(run, batches, folder, half=None):
    """Train, saving half-way and at the end; then load the half-way state (of `half`, another run's folder), and
    train the second half again.

    Written into `folder`: half.pdopt, last.pdopt, again.pdopt and rows.json.
    """
    writes = int(os.environ.get("PADDLE_TRAINER_ID", 0)) == 0

    def save(name):
        state = run.state()
        if writes:
            paddle.save(state, str(folder / name))

    rows = {"first": run.steps(batches, 0, HALF)}
    save("half.pdopt")
    rows["second"] = run.steps(batches, HALF, STEPS)
    save("last.pdopt")
    rows["evaluated"] = [run.evaluate(batches[0][0])]
    run.load(paddle.load(str((half or folder) / "half.pdopt")))
    rows["again"] = run.steps(batches, HALF, STEPS)
    save("again.pdopt")
    if writes:
        (folder / "rows.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    here = Path(sys.argv[1])
    settings = json.loads((here / "case.json").read_text())
    micro_batches = pickle.loads((here.parent / "batches.pkl").read_bytes())
    train_and_resume(Parallel(settings), micro_batches, here, half=Path(settings["reference"]))
    leave()
