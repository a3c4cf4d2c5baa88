"""The schedule against PaddleNLP's, step by step."""

import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.training.schedule import WarmupDecay


def rates(schedule, steps):
    found = []
    for _ in range(steps):
        found.append(schedule.get_lr())
        schedule.step()
    return found


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_equals_paddlenlp(kind, warmup):
    transformers = pytest.importorskip("paddlenlp.transformers")
    reference = {
        "linear": transformers.LinearAnnealingWithWarmupDecay,
        "cosine": transformers.CosineAnnealingWithWarmupDecay,
    }[kind]
    ours = WarmupDecay(1e-3, 1e-5, warmup_steps=warmup, decay_steps=40, kind=kind)
    theirs = reference(1e-3, 1e-5, warmup, 40)
    assert rates(ours, 60) == pytest.approx(rates(theirs, 60), rel=1e-12)


def test_shape_of_the_curve():
    found = rates(WarmupDecay(2.0, 0.5, warmup_steps=10, decay_steps=100), 150)
    assert found[0] == 0 and max(found) == found[10] == 2.0
    assert all(a > b for a, b in zip(found[10:100], found[11:101], strict=True))
    assert found[100:] == [0.5] * 50


def test_resumes_from_its_state():
    straight = rates(WarmupDecay(1.0, 0.0, 5, 50, "cosine"), 50)
    first = WarmupDecay(1.0, 0.0, 5, 50, "cosine")
    head = rates(first, 20)
    second = WarmupDecay(1.0, 0.0, 5, 50, "cosine")
    second.set_state_dict(first.state_dict())
    assert head + rates(second, 30) == straight


@pytest.mark.parametrize("bad", [dict(kind="sine"), dict(warmup_steps=100)])
def test_bad_settings(bad):
    with pytest.raises(UserError):
        WarmupDecay(**{**dict(max_lr=1.0, warmup_steps=1, decay_steps=100), **bad})
