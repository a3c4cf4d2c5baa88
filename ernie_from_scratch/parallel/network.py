"""A network divided over processes by a strategy: one `train_step` for every combination of degrees."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import paddle
import paddle.distributed as dist
from paddle import Tensor, _C_ops, nn
from paddle.distributed.fleet.utils.hybrid_parallel_util import fused_allreduce_gradients_with_group

from ernie_from_scratch.dataset.batch import Batch, to_tensors, token_count
from ernie_from_scratch.models.heads import mean_cross_entropy
from ernie_from_scratch.models.outputs import ModelOutput
from ernie_from_scratch.models.task_model import TaskModel
from ernie_from_scratch.objectives import Objective
from ernie_from_scratch.parallel.pipeline import Pipeline
from ernie_from_scratch.parallel.sharded_layers import shard_layers
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.parallel.tensor import gather_vocabulary, split_layers


class Float32:
    """What `train_step` needs of a precision, for plain float32: no autocast, no loss scale."""

    def autocast(self) -> AbstractContextManager:
        return contextlib.nullcontext()

    def scale(self, loss: Tensor) -> Tensor:
        return loss


class ParallelNetwork(nn.Layer):
    """A task model whose layers are split and assigned to processes by a `Strategy`.

    Called like the model, it gives the complete outputs on every process, without gradients: evaluation runs on it
    as on the model.

    Args:
        model: the complete model, identical on every process; what belongs to other processes is removed from it.
        objective: computes the loss of a batch from the model's outputs.
        sharding_stage: with 3, sharding processes shard the encoder layers too.
        forward: called in place of `model` in training, such as its static graph.

    Attributes:
        model: what this process holds; parameters are named as in the complete model.
        splits: {name of a parameter: `VocabularyOrAxisSplit` or `FlatShards`} of what tensor parallel or sharding
            stage 3 divides.
    """

    def __init__(
        self,
        model: TaskModel,
        strategy: Strategy,
        objective: Objective,
        sharding_stage: int = 1,
        forward: Callable | None = None,
    ):
        super().__init__()
        self.strategy, self.objective = strategy, objective
        self.splits = split_layers(model, strategy)
        if sharding_stage == 3:
            self.splits = shard_layers(model, strategy)
        self.model = model
        self._forward = [
            forward or model
        ]  # in a list, so that it is not registered as a second copy of the model
        self._pipeline = Pipeline(model, strategy, self._loss) if strategy.pp > 1 else None
        self._gradients_sharded = False
        self._precision, self._sums = Float32(), paddle.zeros([1])

    def shard_gradients(self, sharded: nn.Layer) -> None:
        """From now on `sharded` computes, and leaves the mean of each gradient on one process (ZeRO stage 2)."""
        self._forward, self._gradients_sharded = [sharded], True

    def train_step(
        self, batches: Sequence[Batch], seeds: Iterable[int], precision: Any
    ) -> tuple[Tensor, int]:
        """Gradients of one optimizer step, of the mean over all micro batches of all processes, left in `model`.

        Args:
            batches: micro batches of this process, dicts of arrays or tensors; the same number on each process.
            seeds: of the dropout in each of them.
            precision: has `autocast()` and `scale(loss)`, as `training.precision.Precision`.

        Returns:
            Tensor of the means of the total loss and of the objective's metrics, in the order of `metric_names`;
            and the number of tokens that all processes have read.
        """
        self._precision = precision
        self._sums = paddle.zeros([1 + len(self.objective.metric_names)], dtype="float64")
        read = [batch for batch in batches if self.objective.weight(batch) != 0 and self.strategy.last_stage]
        tokens = sum(map(token_count, read))
        batches = [to_tensors(batch) for batch in batches]
        if self._pipeline is not None:
            self._pipeline.forward_backward(batches, list(seeds), precision)
        else:
            for batch, seed in zip(batches, seeds, strict=True):
                paddle.seed(seed)
                precision.scale(self._forward_loss(batch) / len(batches)).backward()
        self._average_gradients()
        sums = paddle.concat([self._sums, paddle.full([1], tokens, dtype="float64")])
        sums = self._sum_over(sums, ("pp_group", "dp_group", "sharding_group"))
        return sums[:-1] / (len(batches) * self.strategy.data_world), int(sums[-1])

    def _forward_loss(self, batch: Batch) -> Tensor:
        """The loss of one micro batch; the logits are freed before backward."""
        with self._precision.autocast():
            output = self._forward[0](**self.objective.network_inputs(batch), return_dict=True)
            return self._loss(output, batch)

    def _loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        """The weighted loss of one micro batch, which is also added to the sums of this step."""
        loss = self.objective.loss(self.model, output, batch)
        values = [loss.total, *(loss.metrics[name] for name in self.objective.metric_names)]
        weight = self.objective.weight(batch)
        if weight is not None:
            values = [value * weight for value in values]
        self._sums += paddle.stack([value.detach().astype("float64") for value in values])
        return values[0]

    def _average_gradients(self) -> None:
        if self._gradients_sharded:
            return
        parameters = self.model.parameters()
        unsharded = [parameter for parameter in parameters if not _is_shard(parameter)]
        for group, averaged in (
            (self.strategy.sharding_group, unsharded),
            (self.strategy.dp_group, parameters),
        ):
            if group is not None:
                fused_allreduce_gradients_with_group(averaged, group, scale=1 / group.nranks)

    def _sum_over(self, tensor: Tensor, groups: Iterable[str]) -> Tensor:
        for name in groups:
            group = getattr(self.strategy, name)
            if group is not None:
                dist.all_reduce(tensor, group=group)
        return tensor

    @paddle.no_grad()
    def gradient_norm(self) -> float:
        """Global L2 norm of the averaged gradients of the complete network, before clipping."""
        split, sharded, replicated = paddle.zeros([]), paddle.zeros([]), paddle.zeros([])
        for parameter in self.model.parameters():
            if parameter.grad is None or not getattr(parameter, "is_firstly_shared", True):
                continue
            square = _C_ops.squared_l2_norm(parameter.grad.astype("float32")).reshape([])
            if parameter.is_distributed:
                split += square
            elif _is_shard(parameter):
                sharded += square
            else:
                replicated += square
        if self._gradients_sharded:
            self._sum_over(replicated, ["sharding_group"])
        own = self._sum_over(split, ["mp_group"]) + self._sum_over(sharded, ["sharding_group"]) + replicated
        return float(self._sum_over(own, ["pp_group"]).sqrt())

    @paddle.no_grad()
    def forward(self, return_dict: bool = True, **inputs: Tensor | None) -> Any:
        """The model's outputs for `inputs`, complete and in float32, the same on every process of the group."""
        if self._pipeline is None:
            output = self._complete(self.model(**inputs, return_dict=True))
        else:
            output = self._pipeline.evaluate(inputs, self._complete)
        return output if return_dict else output.unwrap()

    def _complete(self, output: ModelOutput) -> ModelOutput:
        values = {name: value.astype("float32") for name, value in output.items()}
        for name in self.model.vocabulary_outputs:
            values[name] = gather_vocabulary(values[name], self.model.config.vocab_size, self.strategy)
        return type(output)(**values)

    def masked_lm_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of complete logits, as `forward` gives them."""
        return mean_cross_entropy(logits, labels)

    def losses(self, output: ModelOutput, *labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The losses of a model with pretraining heads, of complete outputs."""
        return type(self.model).losses(self, output, *labels)  # pyright: ignore[reportAttributeAccessIssue]

    def loss(self, output: ModelOutput, batch: Batch) -> Tensor | None:
        """The model's loss, of complete outputs."""
        return self.model.loss(output, batch)


def _is_shard(parameter: Tensor) -> bool:
    return getattr(parameter, "is_shard", False)
