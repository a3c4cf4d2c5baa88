"""What version 0.1.0 has written (tests/data/version_0_1_0, see its README.md) is read, resumed and answers as then."""

import json
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

import ernie_from_scratch as efs
from ernie_from_scratch.deployment.backends.registry import BACKENDS
from ernie_from_scratch.deployment.tasks import TASKS
from ernie_from_scratch.finetuning.evaluation import evaluate
from ernie_from_scratch.finetuning.finetune import finetune, read_results
from ernie_from_scratch.finetuning.settings import FinetuneSettings
from ernie_from_scratch.text.corpus.prepared import open_prepared
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.training.metrics import read_metrics
from ernie_from_scratch.training.pretrain import build_source, corpus_prefixes, load_vocabulary, pretrain
from ernie_from_scratch.training.settings import PretrainSettings
from ernie_from_scratch.training.trainer import Trainer

OLD = Path(__file__).parent / "data" / "version_0_1_0"
CLOSE = dict(rel=1e-5, abs=1e-6)  # another processor rounds otherwise
OF_THE_CLOCK = ("samples_per_second", "tokens_per_second", "mfu")


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the folder as working directory, as it was when the files were written."""
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def settings_of(cls, folder):
    return cls.from_mapping(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))


def rows_of(file, without=OF_THE_CLOCK):
    return [{key: value for key, value in row.items() if key not in without} for row in read_metrics(file)]


def assert_same_rows(found, expected):
    for row, there in zip(found, expected, strict=True):
        assert row.keys() == there.keys()
        for name, value in row.items():
            assert value == (
                pytest.approx(there[name], **CLOSE) if isinstance(value, float) else there[name]
            ), name


def assert_same_weights(folder, other):
    first, second = (paddle.load(str(place / "model_state.pdparams")) for place in (folder, other))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        if not name.endswith("k_proj.bias"):  # no gradient but for rounding, of which AdamW makes whole steps
            np.testing.assert_allclose(tensor.numpy(), second[name].numpy(), atol=1e-5, err_msg=name)


def test_the_prepared_corpus(old):
    corpus = open_prepared("corpus/tiny", Vocabulary.load("corpus/vocab.txt"), verify=True)
    counts = json.loads((old / "corpus" / "tiny_meta.json").read_text())["counts"]
    assert len(corpus.ids) == len(corpus.spans) == counts["tokens"] and corpus.has_entities()
    assert (len(corpus.lens), len(corpus.documents) - 1) == (counts["sentences"], counts["documents"])


def test_batches_are_those_of_the_checkpoint(old):
    settings = settings_of(PretrainSettings, old / "pretrain").check()
    prefixes = corpus_prefixes(settings.input_dir)
    source = build_source(settings, prefixes, load_vocabulary(settings, prefixes))
    state = json.loads((old / "pretrain" / "model_4" / "trainer_state.json").read_text())
    assert source.fingerprint == state["corpus"]
    assert source["train"].batch(np.arange(4))["masked_positions"].size > 4


def test_an_unfinished_pretraining_resumes(old, capfd):
    assert pretrain(settings_of(PretrainSettings, old / "pretrain")).finished
    assert "resuming pretrain from step 4" in capfd.readouterr().err
    assert_same_rows(rows_of("pretrain/metrics.jsonl"), rows_of("pretrain_finished_metrics.jsonl"))
    assert_same_weights(old / "pretrain" / "final", old / "pretrained_no_dropout")


def test_a_finetuned_folder_is_evaluated(old):
    results = json.loads((old / "finetune_finished" / "results.json").read_text())
    scores = evaluate("finetune_finished", "dev.tsv", predictions="again.tsv")
    assert scores == pytest.approx({"examples": 16, **results["dev"]}, **CLOSE)
    found, expected = (
        [line.split("\t") for line in Path(name).read_text(encoding="utf-8").splitlines()]
        for name in ("again.tsv", "answers.tsv")
    )
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert [float(row[2]) for row in found[1:]] == pytest.approx(
        [float(row[2]) for row in expected[1:]], abs=2e-6
    )


def test_a_finished_finetuning_is_not_done_again(old, monkeypatch):
    monkeypatch.setattr(Trainer, "_step", None)  # would fail if called
    expected = json.loads((old / "finetune_finished" / "results.json").read_text())
    assert finetune(settings_of(FinetuneSettings, old / "finetune_finished"), quiet=True) == expected


def test_an_unfinished_finetuning_resumes(old, capfd):
    """In the middle of its third epoch."""
    results = finetune(settings_of(FinetuneSettings, old / "finetune_unfinished"))
    assert "resuming finetune_unfinished from step 15" in capfd.readouterr().err
    finished = read_results(old / "finetune_finished")
    for scores, there in zip(results["epochs"], finished["epochs"], strict=True):
        assert scores == pytest.approx(there, **CLOSE)
    for name in ("best_epoch", "labels", "train_examples", "task", "test"):
        assert results[name] == finished[name], name
    assert_same_weights(old / "finetune_unfinished", old / "finetune_finished")
    without = (*OF_THE_CLOCK, "tokens")  # which 0.1.0 counted anew for each row
    found, expected = (
        rows_of(f"{name}/metrics.jsonl", without) for name in ("finetune_unfinished", "finetune_finished")
    )
    assert_same_rows(found, expected)


@pytest.mark.parametrize("entry", BACKENDS.values(), ids=list(BACKENDS))
@pytest.mark.parametrize("task", TASKS)
def test_models_and_exports_give_the_same_answers(task, entry):
    if entry.library:
        pytest.importorskip(entry.library)
    folder = OLD / "exports"
    recorded = json.loads((folder / "answers.json").read_text(encoding="utf-8"))[task]
    pipe = efs.pipeline(
        model=folder / (f"{task}-{entry.format}" if entry.format else task), backend=entry.name
    )
    assert pipe.task == task
    inputs = [tuple(row["text"]) if isinstance(row["text"], list) else row["text"] for row in recorded]
    found = pipe(inputs, top_k=3)
    for answers, row in zip(found, recorded, strict=True):
        scores = [answer.pop("score") for answer in answers]
        assert scores == pytest.approx([answer.pop("score") for answer in row["predictions"]], rel=1e-4)
        for answer, expected in zip(answers, row["predictions"], strict=True):
            assert answer.pop("token_scores", []) == pytest.approx(expected.pop("token_scores", []), rel=1e-4)
            assert answer == expected
