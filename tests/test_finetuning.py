"""Fine-tuning learns: steps as in a plain loop, the best epoch is kept, and its folder is read and evaluated again."""

import json

import numpy as np
import paddle
import pytest
from deployment_helpers import TOKENS, run_settings, same_weights, weights_of, write_model, write_text

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.dataset.labelled import shuffled_batches
from ernie_from_scratch.finetuning.evaluation import evaluate
from ernie_from_scratch.finetuning.examples import read_examples
from ernie_from_scratch.finetuning.finetune import BestModelEvaluator, finetune
from ernie_from_scratch.finetuning.tasks import SequenceClassification
from ernie_from_scratch.models import ErnieForSequenceClassification
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer
from ernie_from_scratch.training.metrics import read_metrics
from ernie_from_scratch.training.trainer import Trainer


def test_it_learns_and_says_so(finetuned):
    folder, results = finetuned
    assert results["labels"] == ["bad", "good"]
    assert results["dev"]["accuracy"] > 0.9 and results["test"]["accuracy"] > 0.9
    assert results == json.loads((folder / "results.json").read_text())
    rows = read_metrics(folder / "metrics.jsonl")
    train, dev = ([row for row in rows if row.get("eval") == name] for name in (None, "dev"))
    assert [row["step"] for row in train] == [*range(4, 45, 4), 45] and [row["step"] for row in dev] == [
        15,
        30,
        45,
    ]
    assert np.mean([row["loss"] for row in train[-3:]]) < 0.5 * np.mean([row["loss"] for row in train[:3]])
    assert not (folder / "checkpoints").exists()


def test_its_curves_are_those_of_metrics_jsonl(finetuned):
    from visualdl import LogReader

    folder, _ = finetuned
    reader = LogReader(file_path=str(next((folder / "visualdl").glob("vdlrecords*.log"))))
    rows = read_metrics(folder / "metrics.jsonl")
    for part, chosen in (
        ("train", [r for r in rows if "eval" not in r]),
        ("dev", [r for r in rows if "eval" in r]),
    ):
        points = reader.get_data("scalar", f"{part}/loss")
        assert [point.id for point in points] == [row["step"] for row in chosen]
        assert [point.value for point in points] == pytest.approx([row["loss"] for row in chosen], rel=1e-6)
    assert json.loads((folder / "environment.json").read_text())["processes"] == 1


def test_the_output_is_a_model_folder_with_label_names(finetuned, review_task):
    folder, results = finetuned
    assert ErnieConfig.from_file(folder).id2label == {0: "bad", 1: "good"}
    assert ErnieTokenizer.from_pretrained(folder).vocabulary.tokens == TOKENS
    again = evaluate(folder, review_task / "test.tsv")
    assert again == pytest.approx({"examples": 60, **results["test"]}, rel=1e-5)


def test_learning_rate_warms_up_and_decays_to_zero(finetuned):
    rates = {
        row["step"]: row["learning_rate"]
        for row in read_metrics(finetuned[0] / "metrics.jsonl")
        if "eval" not in row
    }
    assert rates[4] == pytest.approx(1e-2 * 3 / 4)  # 4 warm-up steps of 45; row 4 shows the rate of step 3
    assert rates[45] == pytest.approx(1e-2 * (45 - 44) / (45 - 4))
    assert max(rates.values()) == rates[8] and rates[44] < rates[20]


def test_steps_equal_a_plain_loop(review_task, tmp_path):
    """The first epoch, dropout off, against a loop written out with Paddle's own AdamW."""
    model_folder = write_model(
        tmp_path / "model", initializer_range=0.02, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    chosen = run_settings(
        review_task,
        tmp_path / "run",
        model_name_or_path=str(model_folder),
        num_train_epochs=1,
        warmup_ratio=0.0,
    )
    finetune(chosen, quiet=True)

    paddle.seed(chosen.seed)
    model = ErnieForSequenceClassification.from_pretrained(model_folder, num_labels=2)
    model.train()
    tokenizer = ErnieTokenizer.from_pretrained(model_folder)
    examples = read_examples(review_task / "train.tsv")
    optimizer = paddle.optimizer.AdamW(
        parameters=model.parameters(), weight_decay=0.01, grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
        apply_decay_param_fun=lambda name: name in decayed,
    )  # fmt: skip
    decayed = {p.name for n, p in model.named_parameters() if not n.endswith("bias") and "norm" not in n}
    lengths = [len(tokenizer.encode(e.text_a)["input_ids"]) for e in examples]
    batches = shuffled_batches(lengths, chosen.micro_batch_size, chosen.seed, 0)
    for step, numbers in enumerate(batches):
        optimizer.set_lr(chosen.max_lr * (len(batches) - step) / len(batches))
        batch = tokenizer([examples[n].text_a for n in numbers])
        labels = paddle.to_tensor([["bad", "good"].index(examples[n].label) for n in numbers])
        logits = model(paddle.to_tensor(batch["input_ids"]), paddle.to_tensor(batch["token_type_ids"]))
        paddle.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.clear_grad()
    found = weights_of(tmp_path / "run")
    for name, tensor in model.state_dict().items():
        np.testing.assert_allclose(found[name], tensor.numpy(), atol=2e-5, err_msg=name)


def test_the_best_epoch_is_kept_not_the_last(review_task, tmp_path):
    chosen = run_settings(review_task, tmp_path / "run", num_train_epochs=4, lr_scheduler_type="cosine")
    results = finetune(chosen, quiet=True)
    kept = evaluate(tmp_path / "run", review_task / "dev.tsv", max_seq_len=32)
    best = max(results["epochs"], key=lambda scores: scores["accuracy"])
    assert results["dev"] == best and kept["accuracy"] == best["accuracy"]
    assert kept["loss"] == pytest.approx(best["loss"], rel=1e-5)
    evaluator = BestModelEvaluator(chosen, SequenceClassification(["bad", "good"]), None, [], 15, {})
    evaluator.history = [{"accuracy": 0.5}, {"accuracy": 0.9}, {"accuracy": 0.9}]
    assert evaluator.best == 1  # the earliest of equals


def test_seeds_and_random_weights_give_other_models(review_task, tmp_path, finetuned):
    base = run_settings(review_task, tmp_path / "again")
    finetune(base, quiet=True)
    assert same_weights(tmp_path / "again", finetuned[0])
    gentle = dict(num_train_epochs=1, learning_rate=1e-4)
    finetune(run_settings(review_task, tmp_path / "seed", seed=6, **gentle), quiet=True)
    finetune(run_settings(review_task, tmp_path / "scratch", from_scratch=True, **gentle), quiet=True)
    start = weights_of(review_task / "pretrained")["ernie.encoder.layers.0.linear1.weight"]
    moved = {
        n: np.abs(weights_of(tmp_path / n)["ernie.encoder.layers.0.linear1.weight"] - start).mean()
        for n in ("seed", "scratch")
    }
    assert moved["scratch"] > 4 * moved["seed"] > 0


def test_a_finished_run_is_not_done_again(finetuned, review_task, monkeypatch):
    folder, results = finetuned
    monkeypatch.setattr(Trainer, "_step", None)  # would fail if called
    before = (folder / "model_state.pdparams").stat().st_mtime_ns
    same = run_settings(review_task, folder, test=str(review_task / "test.tsv"))
    assert finetune(same, quiet=True) == results
    changed = run_settings(review_task, folder, test=str(review_task / "dev.tsv"))
    other = finetune(changed, quiet=True)  # another test set is scored
    assert other["test"] == pytest.approx(results["dev"], rel=1e-5)
    assert (folder / "model_state.pdparams").stat().st_mtime_ns == before


def test_evaluate_command(finetuned, review_task, tmp_path, capsys):
    folder, results = finetuned
    answers = tmp_path / "answers.tsv"
    flags = [
        "--model",
        str(folder),
        "--data",
        str(review_task / "test.tsv"),
        "--max_seq_len",
        "32",
        "--predictions",
        str(answers),
    ]
    assert main(["evaluate", *flags]) == 0
    printed = json.loads(capsys.readouterr().out)
    lines = [line.split("\t") for line in answers.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == ["label", "predicted", "probability"] and len(lines) == 61
    share = np.mean([label == predicted for label, predicted, _ in lines[1:]])
    assert printed["accuracy"] == pytest.approx(share) == pytest.approx(results["test"]["accuracy"])
    assert [label for label, _, _ in lines[1:]] == [e.label for e in read_examples(review_task / "test.tsv")]
    assert all(0.5 <= float(p) <= 1 for _, _, p in lines[1:])
    other = write_text(tmp_path / "other.tsv", "label\ttext_a\nugly\t车\n")
    assert main(["evaluate", "--model", str(folder), "--data", str(other)]) == 2
    assert "unknown label 'ugly'" in capsys.readouterr().err


def test_paddlenlp_reads_the_result_and_agrees(finetuned):
    transformers = pytest.importorskip("paddlenlp.transformers")
    folder, _ = finetuned
    theirs = transformers.ErnieForSequenceClassification.from_pretrained(str(folder))
    ours = ErnieForSequenceClassification.from_pretrained(folder)
    theirs.eval(), ours.eval()
    batch = ErnieTokenizer.from_pretrained(folder)(["我的车很好。", "一二三四五六七八九十，丑"])
    ids, types = (paddle.to_tensor(batch[name]) for name in ("input_ids", "token_type_ids"))
    np.testing.assert_allclose(ours(ids, types).numpy(), theirs(ids, token_type_ids=types).numpy(), atol=1e-5)
