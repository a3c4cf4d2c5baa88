"""The network as a strategy spreads it: one `train_step` for every combination of degrees.

B batch, L sequence, H hidden, V vocabulary, M masked positions.
"""

import contextlib

import paddle
import paddle.distributed as dist
from paddle import nn
from paddle.distributed.fleet.utils.hybrid_parallel_util import fused_allreduce_gradients_with_group

from ernie_from_scratch.parallel.pipeline import Pipeline, only
from ernie_from_scratch.parallel.sharded_layers import share_layers
from ernie_from_scratch.parallel.tensor import gather_scores, split_layers


class Float32:
    """What `train_step` asks of a precision, without half precision and loss scale."""

    def autocast(self):
        return contextlib.nullcontext()

    def scale(self, loss):
        return loss


class ParallelNetwork(nn.Layer):
    """An `ErnieForPretraining`, its layers split and dealt out by a `Strategy`.

    Called like the model, it gives whole word scores [M, V] and order scores [B, 2] on every process, without
    gradients: evaluation runs on it as on the model.

    Args:
        model: the whole model, alike on every process; the parts of other processes are taken out of it.
        objective: from (model, batch of tensors) to losses with `total`, `masked_lm` and `sentence_pair` (or None),
            as `training.objectives.pretraining_losses`.
        sharding_stage: with 3, sharding processes share out the encoder layers too.

    Attributes:
        model: what this process holds; names are those of the whole model.
        cuts: {name of a parameter: `Cut` or `Shares`} of what is split by tensor parallel or sharding stage 3.
    """

    def __init__(self, model, strategy, objective, sharding_stage=1):
        super().__init__()
        self.strategy, self.objective = strategy, objective
        self.cuts = split_layers(model, strategy)
        if sharding_stage == 3:
            self.cuts = share_layers(model, strategy)
        self.model = model
        self._pipeline = Pipeline(model, strategy, self._forward) if strategy.pp > 1 else None
        self._gradients_shared = False
        self._precision, self._sums = None, None

    def share_gradients(self, sharded):
        """From now on `sharded` computes, and leaves the average of each gradient with one process (ZeRO stage 2)."""
        objective, self._gradients_shared = self.objective, True
        self.objective = lambda model, batch: objective(sharded, batch)

    def train_step(self, batches, seeds, precision):
        """Gradients of one optimizer step, of the mean over all micro batches of all processes, ready in `model`.

        Args:
            batches: micro batches that this process reads, dicts of arrays or tensors; as many on each process.
            seeds: of the dropout in each of them.
            precision: has `autocast()` and `scale(loss)`, as `training.precision.Precision`.

        Returns:
            Tensor [3]: means of total, masked LM and sentence pair losses; and how many tokens were read in all.
        """
        self._precision, self._sums = precision, paddle.zeros([4], dtype="float64")
        batches = [_tensors(batch) for batch in batches]
        if self._pipeline is not None:
            self._pipeline.forward_backward(batches, seeds, precision)
        else:
            for batch, seed in zip(batches, seeds, strict=True):
                paddle.seed(seed)
                precision.scale(self._forward(batch) / len(batches)).backward()
        self._average_gradients()
        sums = self._sum_over(self._sums, ("pp_group", "dp_group", "sharding_group"))
        return sums[:3] / (len(batches) * self.strategy.data_world), int(sums[3])

    def _forward(self, batch, last=True):
        """Loss of one micro batch; before the last chunk of a pipeline, its hidden states."""
        with self._precision.autocast():
            if not last:
                return self._pipeline.states(batch)
            losses = self.objective(self.model, batch)
        pair = losses.sentence_pair if losses.sentence_pair is not None else paddle.zeros([])
        numbers = [losses.total, losses.masked_lm, pair, _tokens(batch)]
        self._sums += paddle.stack([number.detach().astype("float64") for number in numbers])
        return losses.total

    def _average_gradients(self):
        if self._gradients_shared:
            return
        everything = self.model.parameters()
        whole = [parameter for parameter in everything if not _is_share(parameter)]
        for group, parameters in (
            (self.strategy.sharding_group, whole),
            (self.strategy.dp_group, everything),
        ):
            if group is not None:
                fused_allreduce_gradients_with_group(parameters, group, scale=1 / group.nranks)

    def _sum_over(self, tensor, groups):
        for name in groups:
            group = getattr(self.strategy, name)
            if group is not None:
                dist.all_reduce(tensor, group=group)
        return tensor

    @paddle.no_grad()
    def gradient_norm(self):
        """Global L2 norm of the averaged gradients of the whole network, before clipping, as a float."""
        split, shared, alike = paddle.zeros([]), paddle.zeros([]), paddle.zeros([])
        for parameter in self.model.parameters():
            if parameter.grad is None or not getattr(parameter, "is_firstly_shared", True):
                continue
            square = paddle._C_ops.squared_l2_norm(parameter.grad.astype("float32")).reshape([])
            if parameter.is_distributed:
                split += square
            elif _is_share(parameter):
                shared += square
            else:
                alike += square
        if self._gradients_shared:
            self._sum_over(alike, ["sharding_group"])
        here = self._sum_over(split, ["mp_group"]) + self._sum_over(shared, ["sharding_group"]) + alike
        return self._sum_over(here, ["pp_group"]).sqrt().item()

    @paddle.no_grad()
    def forward(self, input_ids, token_type_ids=None, attention_mask=None, masked_positions=None):
        """Word scores [M, V] (or [B, L, V]) and order scores [B, 2], the same on every process of the group."""
        batch = dict(input_ids=input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        if self._pipeline is None:
            return self._scores(batch, masked_positions)
        group, me, scores = self.strategy.pp_group, self.strategy.pp_rank, None
        for chunk in self._pipeline.chunks:
            received = None
            if not chunk.first:
                received = paddle.empty([*input_ids.shape, self.model.config.hidden_size])  # [B, L, H]
                dist.recv(received, group.ranks[me - 1], group=group)
            with only(self.model, chunk, received):
                if chunk.last:
                    scores = self._scores(batch, masked_positions)
                else:
                    states = self._pipeline.states(batch).astype("float32")
                    dist.send(states, group.ranks[(me + 1) % group.nranks], group=group)
        if scores is None:
            asked = input_ids.shape if masked_positions is None else masked_positions.shape
            scores = (
                paddle.empty([*asked, self.model.config.vocab_size]),
                paddle.empty([input_ids.shape[0], 2]),
            )
        for part in scores:
            dist.broadcast(part, group.ranks[-1], group=group)
        return scores

    def _scores(self, batch, masked_positions):
        words, order = self.model(**batch, masked_positions=masked_positions)
        words = gather_scores(words.astype("float32"), self.model.config.vocab_size, self.strategy)
        return words, order.astype("float32")


def _is_share(parameter):
    return getattr(parameter, "is_shared_out", False)


def _tensors(batch):
    return {
        name: value if value is None or isinstance(value, paddle.Tensor) else paddle.to_tensor(value)
        for name, value in batch.items()
    }


def _tokens(batch):
    """How many tokens of a batch are not padding, as a tensor."""
    mask = batch["attention_mask"]
    return paddle.ones_like(batch["input_ids"]).sum() if mask is None else mask.sum()
