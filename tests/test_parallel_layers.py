"""The arithmetic of the parallel layers that needs no second process: splits, stages, dropout of some heads, errors."""

from dataclasses import replace

import numpy as np
import paddle
import pytest

from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.models.layers import Dropout
from ernie_from_scratch.objectives import MaskedLMWithPair
from ernie_from_scratch.parallel import sharding
from ernie_from_scratch.parallel.degrees import check_mp_degree
from ernie_from_scratch.parallel.layer_split import stage_chunks
from ernie_from_scratch.parallel.network import ParallelNetwork
from ernie_from_scratch.parallel.pipeline import count_dropouts_before, keep_stage, run_chunk, same_width
from ernie_from_scratch.parallel.resharding import gather, take_own
from ernie_from_scratch.parallel.sharded_layers import FlatShards
from ernie_from_scratch.parallel.sharding import check_sharding
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.parallel.tensor import AxisSplit, HeadDropout

SIZES = dict(
    vocab_size=50,
    hidden_size=8,
    num_hidden_layers=5,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=16,
)


def small_model(**changes):
    return ErnieForPretraining(ErnieConfig(**{**SIZES, **changes}))


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("axis", [0, 1])
def test_merged_slices_are_the_complete_tensor(axis, ranks):
    complete = paddle.to_tensor(np.random.default_rng(0).normal(size=[60, 61]).astype("float32"))
    split = AxisSplit(axis, complete.shape[axis], padding=-7.0)
    slices = [split.split(complete, rank, ranks) for rank in range(ranks)]
    assert len({tuple(own.shape) for own in slices}) == 1
    assert (split.merge(slices) == complete).all()
    added = slices[0].size * ranks - complete.size
    assert sum(int((own == -7.0).sum()) for own in slices) == added
    last = split.split(complete, ranks - 1, ranks, padding=False)
    assert (last == -7.0).sum() == 0


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_merged_shards_are_the_complete_tensor(ranks):
    complete = paddle.arange(35, dtype="float32").reshape([5, 7])
    flat = FlatShards((5, 7))
    shards = [flat.split(complete, rank, ranks) for rank in range(ranks)]
    assert len({tuple(shard.shape) for shard in shards}) == 1
    assert sum(shard.size for shard in shards) - 35 < ranks
    assert (flat.merge(shards) == complete).all()


@pytest.mark.parametrize("stages, chunks", [(1, 1), (2, 1), (3, 1), (5, 1), (3, 3), (4, 2)])
def test_stages_divide_the_layers_in_order(stages, chunks):
    found = []
    for rank in range(stages):
        found += stage_chunks(11, stages, rank, chunks)
        assert [chunk.number % stages for chunk in found[-chunks:]] == [rank] * chunks
    found.sort(key=lambda chunk: chunk.number)
    assert [number for chunk in found for number in chunk.layers] == list(range(11))
    counts = [len(chunk.layers) for chunk in found]
    assert max(counts) - min(counts) <= 1
    assert [chunk.first for chunk in found] == [True] + [False] * (stages * chunks - 1)
    assert [chunk.last for chunk in found] == [False] * (stages * chunks - 1) + [True]


def test_chunks_one_after_the_other_give_the_outputs_of_the_model():
    complete = small_model()
    complete.eval()
    ids = paddle.to_tensor([[1, 5, 6, 2], [1, 7, 2, 0]])
    batch = dict(input_ids=ids, token_type_ids=paddle.zeros_like(ids), attention_mask=None)
    wanted = complete(ids, attention_mask=None)
    stages = [Strategy(pp=2, pp_rank=rank, virtual_pp=2) for rank in range(2)]
    models = [small_model() for _ in stages]
    for model, stage in zip(models, stages, strict=True):
        model.set_state_dict(complete.state_dict())
        keep_stage(model, stage)
        model.eval()
    names = [set(model.state_dict()) for model in models]
    chunks = [chunk for rank in range(2) for chunk in stage_chunks(5, 2, rank, 2)]
    states = None
    for chunk in sorted(chunks, key=lambda chunk: chunk.number):
        model = models[chunk.number % 2]
        states = run_chunk(model, chunk, batch, states)
    found = model.head(states, batch).to_tuple()
    for one, other in zip(found, wanted, strict=True):
        assert paddle.allclose(one, other, atol=1e-6)
    assert [set(model.state_dict()) for model in models] == names


def test_what_other_stages_hold_is_removed():
    """A stage has the layers of its chunks only; running the part of another stage is an error, not a wrong result."""
    first, last = small_model(), small_model()
    keep_stage(first, Strategy(pp=2, pp_rank=0))
    keep_stage(last, Strategy(pp=2, pp_rank=1))
    assert [list(model.layers._sub_layers) for model in (first, last)] == [list("012"), list("34")]
    assert first.cls is None and first.ernie.pooler is None
    assert last.ernie.embeddings.position_embeddings is None and last.ernie.embeddings.layer_norm is None
    with pytest.raises(TypeError):
        last.embed(dict(input_ids=paddle.to_tensor([[1, 5, 2]])))
    with pytest.raises(TypeError):
        first.head(paddle.zeros([1, 3, 8]), {})


def test_micro_batches_of_one_width_have_the_same_losses():
    model = small_model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    rng = np.random.default_rng(3)
    batches = []
    for length, padded in ((6, 0), (9, 3), (4, 0)):
        ids = rng.integers(4, 40, (2, length))
        ids[1, length - padded :] = 0
        batch = dict(
            input_ids=ids,
            token_type_ids=np.zeros_like(ids),
            attention_mask=(ids > 0).astype("int64") if padded else None,
            masked_positions=np.array([1, 3, length + 2]),
            masked_lm_labels=np.array([7, 8, 9]),
            next_sentence_label=np.array([0, 1]),
        )
        batches.append(
            {name: value if value is None else paddle.to_tensor(value) for name, value in batch.items()}
        )
    wide = same_width(batches)
    assert {tuple(batch["input_ids"].shape) for batch in wide} == {(2, 9)}
    objective = MaskedLMWithPair()
    for one, other in zip(batches, wide, strict=True):
        losses = [objective(model, batch) for batch in (one, other)]
        narrow, padded = (dict(total=float(loss.total), **loss.metrics) for loss in losses)
        assert list(narrow) == list(padded) == ["total", "lm_loss", "sop_loss"]
        for name in narrow:
            assert float(narrow[name]) == pytest.approx(float(padded[name]), abs=1e-6), name


def test_stages_keep_the_names_and_numbers_of_the_complete_model():
    names = set(small_model().state_dict())
    seen, before = [], []
    for rank in range(3):
        model = small_model()
        strategy = Strategy(pp=3, pp_rank=rank)
        before.append(count_dropouts_before(model, stage_chunks(5, 3, rank)[0]))
        keep_stage(model, strategy)
        seen += list(model.state_dict())
    assert set(seen) == names
    twice = {name for name in seen if seen.count(name) > 1}
    assert twice == {"ernie.embeddings.word_embeddings.weight"}
    assert before == [0, 1 + 2 * 3, 1 + 4 * 3]  # one dropout in the embeddings, three in a layer


def test_stages_count_only_dropouts_that_draw():
    model = small_model(attention_probs_dropout_prob=0.0)
    assert count_dropouts_before(model, stage_chunks(5, 5, 4)[0]) == 1 + 4 * 2


def test_dropout_of_some_heads_draws_what_one_process_draws_for_them():
    x = paddle.ones([3, 4, 5, 6])  # [B, N, L, K]
    paddle.seed(3)
    complete = Dropout(0.4)(x)
    assert 0.3 < float((complete == 0).astype("float32").mean()) < 0.5
    for rank in range(2):
        paddle.seed(3)
        own = HeadDropout(0.4, Strategy(mp=2, mp_rank=rank))(x[:, :2])
        assert (own == complete[:, 2 * rank : 2 * rank + 2]).all()
    evaluated = HeadDropout(0.4, Strategy(mp=2))
    evaluated.eval()
    assert (evaluated(x) == 1).all()


def test_one_process_needs_no_fleet():
    assert Strategy.start() == Strategy()
    model = small_model()
    network = ParallelNetwork(model, Strategy(), MaskedLMWithPair())
    assert network.model is model and network.splits == {}
    weights = model.state_dict()
    assert set(gather(network, weights)) == set(take_own(network, weights)) == set(weights)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Strategy.start(mp=2), "asks for 2 processes and there is 1; start 2"),
        (lambda: Strategy.start(overlap=True), "leave it out on a CPU"),
        (lambda: stage_chunks(5, 6, 0), "--pp_degree 6: each stage needs a layer, and there are 5"),
        (lambda: check_mp_degree(2, 16, 4), "degrees that do: 1, 2"),
        (lambda: check_sharding(Strategy(sharding=2), 2), "--sharding_stage 2: Paddle runs it on GPUs only"),
        (lambda: check_sharding(Strategy(), 3), "--sharding_stage 3 needs a --sharding_degree above 1"),
        (
            lambda: check_sharding(Strategy(sharding=2, mp=2), 3),
            "--sharding_stage 3 works with dp_degree and sharding_degree only; found dp_degree 1, ",
        ),
        (
            lambda: check_sharding(Strategy(sharding=2), 1, True),
            "--sharding_stage 1 with --offload: optimizer state can be kept in host memory",
        ),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(call, message):
    with pytest.raises(UserError) as refusal:
        call()
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


def test_sharding_stages_on_gpus(monkeypatch):
    monkeypatch.setattr(sharding.paddle, "get_device", lambda: "gpu:0")
    four = Strategy(sharding=4)
    check_sharding(four, 1)
    check_sharding(four, 2)
    check_sharding(four, 2, offload=True)
    check_sharding(replace(four, dp=2), 3)
    for strategy, stage, message in (
        (
            replace(four, mp=2),
            2,
            "takes all processes as sharding_degree; found dp_degree 1, sharding_degree 4, mp_",
        ),
        (replace(four, dp=2), 2, "takes all processes"),
        (Strategy(), 2, "needs a --sharding_degree above 1"),
    ):
        with pytest.raises(UserError, match=message):
            check_sharding(strategy, stage)
