"""The arithmetic of the parallel layers that needs no second process: cuts, stages, dropout of some heads, refusals."""

from dataclasses import replace

import numpy as np
import paddle
import pytest

from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.models.layers import Dropout
from ernie_from_scratch.parallel import sharding
from ernie_from_scratch.parallel.network import ParallelNetwork
from ernie_from_scratch.parallel.pipeline import keep_stage, stage_layers
from ernie_from_scratch.parallel.sharding import check_sharding
from ernie_from_scratch.parallel.strategy import Strategy
from ernie_from_scratch.parallel.tensor import Cut, HeadDropout, check_divides
from ernie_from_scratch.parallel.whole import gather, part
from ernie_from_scratch.training.objectives import pretraining_losses

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
def test_parts_put_together_are_the_whole(axis, ranks):
    whole = paddle.to_tensor(np.random.default_rng(0).normal(size=[60, 61]).astype("float32"))
    cut = Cut(axis, whole.shape[axis], filling=-7.0)
    parts = [cut.part(whole, rank, ranks) for rank in range(ranks)]
    assert len({tuple(p.shape) for p in parts}) == 1
    assert (cut.whole(parts) == whole).all()
    added = parts[0].size * ranks - whole.size
    assert sum(int((p == -7.0).sum()) for p in parts) == added
    last = cut.part(whole, ranks - 1, ranks, filling=False)
    assert (last == -7.0).sum() == 0


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
def test_stages_share_out_the_layers_in_order(stages):
    counts = [stage_layers(5, Strategy(pp=stages, pp_rank=rank)) for rank in range(stages)]
    assert [number for mine in counts for number in mine] == list(range(5))
    assert max(map(len, counts)) - min(map(len, counts)) <= 1


def test_stages_keep_the_names_and_numbers_of_the_whole_model():
    whole = small_model()
    names = set(whole.state_dict())
    seen, before = [], []
    for rank in range(3):
        model = small_model()
        before.append(keep_stage(model, Strategy(pp=3, pp_rank=rank)))
        seen += list(model.state_dict())
    assert set(seen) == names
    twice = {name for name in seen if seen.count(name) > 1}
    assert twice == {"ernie.embeddings.word_embeddings.weight"}
    assert before == [0, 1 + 2 * 3, 1 + 4 * 3]  # one dropout in the embeddings, three in a layer


def test_stages_count_only_dropouts_that_draw():
    model = small_model(attention_probs_dropout_prob=0.0)
    assert keep_stage(model, Strategy(pp=5, pp_rank=4)) == 1 + 4 * 2


def test_dropout_of_some_heads_draws_what_one_process_draws_for_them():
    x = paddle.ones([3, 4, 5, 6])  # [B, N, L, K]
    paddle.seed(3)
    whole = Dropout(0.4)(x)
    assert 0.3 < float((whole == 0).astype("float32").mean()) < 0.5
    for rank in range(2):
        paddle.seed(3)
        mine = HeadDropout(0.4, Strategy(mp=2, mp_rank=rank))(x[:, :2])
        assert (mine == whole[:, 2 * rank : 2 * rank + 2]).all()
    evaluated = HeadDropout(0.4, Strategy(mp=2))
    evaluated.eval()
    assert (evaluated(x) == 1).all()


def test_one_process_needs_no_fleet():
    assert Strategy.start() == Strategy()
    model = small_model()
    network = ParallelNetwork(model, Strategy(), pretraining_losses)
    assert network.model is model and network.cuts == {}
    weights = model.state_dict()
    assert set(gather(network, weights)) == set(part(network, weights)) == set(weights)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Strategy.start(mp=2), "= 2, but there are 1 processes; start 2"),
        (lambda: Strategy.start(overlap=True), "leave it out on a CPU"),
        (lambda: stage_layers(5, Strategy(pp=6)), "--pp_degree 6: each stage needs a layer, and there are 5"),
        (lambda: check_divides(ErnieConfig(**SIZES), 4), "degrees that do: 1, 2"),
        (lambda: check_sharding(Strategy(sharding=2), 2), "--sharding_stage 2: Paddle runs it on GPUs only"),
        (lambda: check_sharding(Strategy(sharding=2), 3), "--sharding_stage 3: Paddle runs it on GPUs only"),
        (
            lambda: check_sharding(Strategy(sharding=2), 1, True),
            "--offload with --sharding_stage 1: Paddle runs",
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
    for strategy, stage, message in (
        (four, 3, "load under the same degrees only"),
        (
            replace(four, mp=2),
            2,
            "takes all processes as sharding_degree; found dp_degree 1, sharding_degree 4, mp_",
        ),
        (Strategy(), 2, "takes all processes"),
    ):
        with pytest.raises(UserError, match=message):
            check_sharding(strategy, stage)
