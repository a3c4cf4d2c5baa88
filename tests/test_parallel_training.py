"""Every combination of degrees trains exactly like one process, and loads what any other has saved."""

import json
import pickle
from pathlib import Path

import numpy as np
import paddle
import pytest
from parallel_helpers import launch
from parallel_worker import HALF, STEPS, Plain, train_and_resume
from small_corpus import make_corpus, run_settings

from ernie_from_scratch.dataset.loader import BatchLoader
from ernie_from_scratch.training.pretrain import build_source, corpus_prefixes, load_vocabulary

WORKER = Path(__file__).with_name("parallel_worker.py")
MICRO_BATCHES = 8  # of a step, over all processes
CLOSE = 1e-5
DROPOUT = dict(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
CASES = {  # degrees, and what the network does beside; micro batches beyond dp x sharding are accumulated
    "dp2": (dict(dp=2), {}),
    "mp2_dropout": (dict(mp=2), dict(DROPOUT, enable_recompute=True)),
    "pp2": (dict(pp=2), {}),
    "mp2_pp2_sharding2": (dict(mp=2, pp=2, sharding=2), dict(enable_recompute=True)),
}
MORE_CASES = {
    "mp2": (dict(mp=2), {}),
    "sharding2": (dict(sharding=2), {}),
    "pp4": (dict(pp=4), dict(enable_recompute=True)),
    "mp2_pp2": (dict(mp=2, pp=2), {}),
    "dp2_mp2": (dict(dp=2, mp=2), {}),
    "dp2_pp2": (dict(dp=2, pp=2), {}),
    "sharding2_mp2": (dict(sharding=2, mp=2), {}),
    "dp2_sharding2": (dict(dp=2, sharding=2), {}),
    "mp4": (dict(mp=4), dict(num_attention_heads=4)),
    "pp3_uneven": (dict(pp=3), DROPOUT),
    "sharding2_stage3_dropout": (dict(sharding=2), dict(DROPOUT, intermediate_size=33), 3),
    "dp2_sharding2_stage3": (dict(dp=2, sharding=2), {}, 3),
    "pp3_virtual2": (dict(pp=3, virtual_pp=2), dict(num_hidden_layers=7)),
    "pp4_virtual2": (dict(pp=4, virtual_pp=2), dict(num_hidden_layers=8, enable_recompute=True)),
    "sharding2_pp2_packed": (dict(sharding=2, pp=2), dict(pack_rows=True)),
    "dp2_pp2_dropout": (dict(dp=2, pp=2), dict(DROPOUT, enable_recompute=True)),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with the micro batches of a run on a small corpus, of different widths, and its network."""
    folder = tmp_path_factory.mktemp("parallel")
    settings = run_settings(make_corpus(folder), folder / "run", micro_batch_size=2, max_seq_len=28).check()
    prefixes = corpus_prefixes(settings.input_dir)
    vocabulary = load_vocabulary(settings, prefixes)
    with BatchLoader(build_source(settings, prefixes, vocabulary)["train"], 2, num_workers=0) as loader:
        batches = [[next(loader) for _ in range(MICRO_BATCHES)] for _ in range(STEPS)]
    (folder / "batches.pkl").write_bytes(pickle.dumps(batches))
    network = dict(
        vocab_size=len(vocabulary) | 1,  # odd: the last process's part is filled up
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=48,
        initializer_range=0.1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    (folder / "network.json").write_text(json.dumps(network))
    return folder


def case_of(runs, **network):
    return {"network": json.loads((runs / "network.json").read_text()) | network}


def batches_of(runs):
    return pickle.loads((runs / "batches.pkl").read_bytes())


def reference(runs, network):
    """The folder of a run in one process with the same network; made once for each network."""
    folder = runs / ("plain_" + "_".join(sorted(network)))
    if not folder.exists():
        folder.mkdir()
        train_and_resume(Plain(case_of(runs, **network)), batches_of(runs), folder)
    return folder


def difference(first, second):
    """The largest difference between two dicts of tensors with the same names."""
    assert set(first) == set(second)
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def check(runs, degrees, network, sharding_stage=1):
    """Compare a run under `degrees` of a network with these changes to one process's."""
    plain = reference(runs, network)
    folder = runs / "_".join([*map(str, degrees.items()), *network, str(sharding_stage)])
    folder.mkdir()
    case = {**case_of(runs, **network), "degrees": degrees, "sharding_stage": sharding_stage}
    case["reference"] = str(plain)
    (folder / "case.json").write_text(json.dumps(case))
    processes = int(np.prod([degree for name, degree in degrees.items() if name != "virtual_pp"]))
    code, log = launch(WORKER, folder, processes)
    assert code == 0, log

    wanted, found = (json.loads((f / "rows.json").read_text()) for f in (plain, folder))
    found_differences = {part: np.abs(np.subtract(found[part], wanted[part])).max() for part in wanted}
    states = {name: paddle.load(str(folder / name)) for name in ("half.pdopt", "last.pdopt", "again.pdopt")}
    for name, state in states.items():
        single = paddle.load(str(plain / name))
        assert state["scheduler"] == single["scheduler"]
        found_differences[name] = difference(state["weights"], single["weights"])
        found_differences[f"moments of {name}"] = difference(state["tensors"], single["tensors"])

    resumed = Plain(case)
    resumed.load(states["half.pdopt"])
    found_differences["resumed in one process"] = np.abs(
        np.subtract(resumed.steps(batches_of(runs), HALF, STEPS), wanted["second"])
    ).max()
    found_differences["weights resumed"] = difference(
        resumed.state()["weights"], states["last.pdopt"]["weights"]
    )
    print({name: f"{value:.1e}" for name, value in found_differences.items()})
    assert max(found_differences.values()) <= CLOSE, found_differences


@pytest.mark.parallel
@pytest.mark.parametrize("name", CASES)
def test_degrees_train_like_one_process(runs, name):
    check(runs, *CASES[name])


@pytest.mark.parallel_all
@pytest.mark.parametrize("name", MORE_CASES)
def test_more_degrees_train_like_one_process(runs, name):
    check(runs, *MORE_CASES[name])


def test_the_run_compared_with_is_clipped_and_changes_widths(runs):
    """Otherwise the comparison would not see wrong gradient scales, or shapes that stages remember."""
    rows = json.loads((reference(runs, {}) / "rows.json").read_text())
    norms = [row[3] for row in rows["first"] + rows["second"]]
    assert min(norms) > 0.5 and rows["second"][-1][0] < rows["first"][0][0]
    batches = batches_of(runs)
    assert len({batch["input_ids"].shape for step in batches for batch in step}) > 2
    assert len({batch["input_ids"].shape for batch in batches[0]}) > 1
    masks = [batch["attention_mask"] is None for step in batches for batch in step]
    assert any(masks) and not all(masks)
