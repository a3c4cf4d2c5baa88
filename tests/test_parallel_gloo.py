"""What Fleet does not find in Gloo, and that `gloo.install()` gives it. What works without it again can go there."""

import json
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from parallel_helpers import launch

from ernie_from_scratch.parallel import gloo

WORKER = Path(__file__).with_name("parallel_gloo_worker.py")
X = [[1.0, 2.0, 3.0, 4.0]]
X1 = [[10.0, 20.0, 30.0, 40.0]]
# name of the call: the error of stock Paddle, and what each of the two processes must get
CALLS = {
    "all_reduce_on_calc_stream": ("does not support all_reduce", [[[11.0, 22.0, 33.0, 44.0]]] * 2),
    "all_gather_into_tensor_on_calc_stream": ("does not support all_gather", [X + X1] * 2),
    "send_on_calc_stream": ("does not support", [X, X]),
    "device_id": ("no attribute '_device_id'", [0, 0]),
    "c_identity": ("Do not support c_identity for cpu", [X, X1]),
    "c_split": ("Do not support c_split for cpu", [[[1.0, 2.0]], [[30.0, 40.0]]]),
    "c_concat": ("Do not support c_concat for cpu", [[X[0] + X1[0]]] * 2),
    "c_softmax_with_cross_entropy": ("Do not support c_softmax_with_cross_entropy for cpu", None),
}


def run(folder, processes, *arguments):
    """What each process wrote."""
    _, log = launch(WORKER, folder, processes, *arguments)
    assert len(list(folder.glob("*.json"))) == processes, log
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    return run(tmp_path_factory.mktemp("calls"), 2, "calls")


@pytest.mark.parallel
@pytest.mark.parametrize("name", CALLS)
def test_stock_call_fails_and_the_replacement_does_what_it_should(called, name):
    message, wanted = CALLS[name]
    for rank, results in enumerate(called):
        assert message in str(results["stock"][name])
        if wanted is None:
            scores, label = paddle.to_tensor([X[0] + X1[0]]), paddle.to_tensor([7])
            assert results["installed"][name] == [
                [pytest.approx(float(F.cross_entropy(scores, label)), abs=1e-6)]
            ]
        else:
            assert results["installed"][name] == wanted[rank]


# name of an exchange among four processes: what each must get
EXCHANGES = {
    "messages": [[0.0], [1.0], [2.0], [3.0]],
    "ring": [[3.0], [0.0], [1.0], [2.0]],
    "batch": [[3.0], [0.0], [1.0], [2.0]],
    "groups": [[3.0, 5.0, 15.0], [3.0, 10.0, 15.0], [12.0, 5.0, 15.0], [12.0, 10.0, 15.0]],
}


@pytest.mark.parallel
@pytest.mark.parametrize("name", EXCHANGES)
def test_stock_exchange_hangs_or_fails(name, tmp_path):
    results = [result[name] for result in run(tmp_path, 4, name, "stock")]
    assert any(result == "hangs" or "Error" in str(result) for result in results), results


@pytest.mark.parallel
def test_exchanges_work_with_the_replacements(tmp_path):
    results = run(tmp_path, 4, *EXCHANGES, "installed")
    for name, wanted in EXCHANGES.items():
        assert [result[name] for result in results] == wanted, name


class OneProcess:
    """A group of one: cross-entropy over it is the plain one."""

    rank, nranks = 0, 1


def test_split_cross_entropy_and_its_gradient_are_the_plain_ones_in_one_process(monkeypatch):
    monkeypatch.setattr(gloo.dist, "all_reduce", lambda tensor, op=None, group=None: None)
    random = np.random.default_rng(0)
    scores, labels = random.normal(size=[5, 7]).astype("float32") * 5, [0, 6, -100, 3, 3]
    gradients = []
    for loss in (
        lambda s, t: gloo.split_cross_entropy(s, t, OneProcess()).sum(),
        lambda s, t: F.cross_entropy(s, t, reduction="none").sum(),
    ):
        tensor = paddle.to_tensor(scores, stop_gradient=False)
        value = loss(tensor, paddle.to_tensor(labels))
        value.backward()
        gradients.append((float(value), tensor.grad.numpy()))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-6)
    np.testing.assert_allclose(gradients[0][1], gradients[1][1], atol=1e-6)


def test_nothing_is_replaced_on_a_gpu(monkeypatch):
    monkeypatch.setattr(gloo.paddle, "get_device", lambda: "gpu:0")
    monkeypatch.setattr(gloo, "_replace_groups", lambda group: pytest.fail("replaced on a GPU"))
    assert gloo.install() is False
