"""--to_static, --use_recompute and --pack_rows: other ways to compute the same losses."""

import json
import shutil

import numpy as np
import pytest
from small_corpus import make_corpus, run_settings

from ernie_from_scratch.config import UserError
from ernie_from_scratch.training.metrics import read_metrics
from ernie_from_scratch.training.pretrain import pretrain
from ernie_from_scratch.utils.files import sha256_file


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A corpus with two networks: config.json with dropout, plain.json without."""
    prefix = make_corpus(tmp_path_factory.mktemp("corpus"))
    config = json.loads((prefix.parent / "config.json").read_text())
    config |= dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    (prefix.parent / "plain.json").write_text(json.dumps(config))
    return prefix


def losses(corpus, folder, **changes):
    changes = {"max_steps": 20, "logging_freq": 1, "eval_freq": 0, "checkpoint_steps": 10, **changes}
    pretrain(run_settings(corpus, folder, **changes), quiet=True)
    return [row["loss"] for row in read_metrics(folder / "metrics.jsonl")]


def test_the_static_graph_has_the_same_losses(corpus, tmp_path):
    plain = dict(ernie_config_file=str(corpus.parent / "plain.json"), max_lr=5e-3)
    dynamic = losses(corpus, tmp_path / "dynamic", **plain)
    static = losses(corpus, tmp_path / "static", to_static=True, **plain)
    assert len(static) == 20 and static[0] - static[-1] > 0.2
    np.testing.assert_allclose(static, dynamic, atol=1e-5)


def test_the_static_graph_resumes_bit_for_bit(corpus, tmp_path):
    """With dropout: its masks come from the step's seed, so a resumed run draws them again."""
    straight = losses(corpus, tmp_path / "run", to_static=True)
    checksum = sha256_file(tmp_path / "run" / "final" / "model_state.pdparams")
    shutil.rmtree(tmp_path / "run" / "model_20")
    shutil.rmtree(tmp_path / "run" / "final")
    assert losses(corpus, tmp_path / "run", to_static=True) == straight
    assert sha256_file(tmp_path / "run" / "final" / "model_state.pdparams") == checksum


def test_packed_rows_have_the_same_losses(corpus, tmp_path):
    plain = dict(ernie_config_file=str(corpus.parent / "plain.json"), max_lr=5e-3)
    padded = losses(corpus, tmp_path / "padded", **plain)
    np.testing.assert_allclose(
        losses(corpus, tmp_path / "packed", pack_rows=True, **plain), padded, atol=1e-5
    )
    kept = json.loads((tmp_path / "packed" / "final" / "config.json").read_text())
    assert kept["pack_rows"] is False  # how the run computed says nothing about the model
    with pytest.raises(UserError, match="--pack_rows"):
        losses(corpus, tmp_path / "both", pack_rows=True, to_static=True)


def test_recompute_changes_nothing(corpus, tmp_path):
    """Bit for bit, dropout included, so a resumed run may switch it on and off."""
    stored = losses(corpus, tmp_path / "stored")
    assert losses(corpus, tmp_path / "again", use_recompute=True) == stored
    shutil.rmtree(tmp_path / "stored" / "model_20")
    assert losses(corpus, tmp_path / "stored", use_recompute=True) == stored
