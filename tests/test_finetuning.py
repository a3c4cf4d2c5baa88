"""Fine-tuning: reading, batches, learning, the best epoch, and continuing after a kill at any place."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import paddle
import pytest
from deployment_helpers import TOKENS, write_model, write_reviews

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.finetuning import loop
from ernie_from_scratch.finetuning.batches import by_length, shuffled_batches
from ernie_from_scratch.finetuning.evaluation import evaluate
from ernie_from_scratch.finetuning.examples import label_names, read_examples
from ernie_from_scratch.finetuning.loop import best_epoch, finetune
from ernie_from_scratch.finetuning.settings import FinetuneSettings
from ernie_from_scratch.models import ErnieForSequenceClassification
from ernie_from_scratch.text.tokenizer import ErnieTokenizer
from ernie_from_scratch.training.metrics import read_metrics

# reading


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_columns_in_any_order_and_pairs(tmp_path):
    file = write(
        tmp_path / "x.tsv", "\ufeffqid\ttext_b\tlabel\ttext_a\r\n7\t书\tyes\t车\r\n\r\n8\t菜\tno\t房\r\n"
    )
    examples = read_examples(file)
    assert [(e.text_a, e.text_b, e.label) for e in examples] == [("车", "书", "yes"), ("房", "菜", "no")]
    assert examples[1].where.endswith("x.tsv:4")


def test_labels_are_not_needed_for_prediction(tmp_path):
    examples = read_examples(write(tmp_path / "x.tsv", "text_a\n车\n"), need_labels=False)
    assert [(e.text_a, e.text_b, e.label) for e in examples] == [("车", None, None)]


def test_label_order(tmp_path):
    def names(*labels):
        body = "".join(f"{label}\t车\n" for label in labels)
        return label_names(read_examples(write(tmp_path / "x.tsv", "label\ttext_a\n" + body)))

    assert names("10", "-1", "9", "9") == ["-1", "9", "10"]
    assert names("b", "10", "a") == ["10", "a", "b"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "empty file"),
        (" \n\n", "empty file"),
        ("label\ttext_a\n", "only a header"),
        ("text_a\n车\n", "no column 'label'"),
        ("label\ttext\n1\t车\n", "no column 'text_a'"),
        ("label\ttext_a\n1\t车\n2\n", "x.tsv:3"),
        ("label\ttext_a\n1\t车\tmore\n", "3 columns where the header has 2"),
        ("label\ttext_a\n1\t \n", "empty text_a"),
        ("label\ttext_a\n\t车\n", "empty label"),
    ],
)
def test_bad_files_are_named_in_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        read_examples(write(tmp_path / "x.tsv", text))
    assert message in str(error.value) and "x.tsv" in str(error.value) and "\n" not in str(error.value)


def test_other_encoding_and_missing_file(tmp_path):
    with pytest.raises(UserError, match="not UTF-8"):
        read_examples(write(tmp_path / "x.tsv", "label\ttext_a\n1\t车\n", "gbk"))
    with pytest.raises(UserError, match="no such file"):
        read_examples(tmp_path / "missing.tsv")


# batches


@pytest.mark.parametrize("rows, size", [(1, 8), (8, 8), (1000, 32), (999, 7)])
def test_every_row_once_in_random_batches(rows, size):
    lengths = np.random.default_rng(0).integers(3, 100, rows)
    batches = shuffled_batches(lengths, size, seed=1, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(rows))
    assert len(batches) == -(-rows // size) and max(map(len, batches)) <= size


def test_batches_repeat_for_the_same_epoch_only():
    lengths = np.random.default_rng(0).integers(3, 100, 500)

    def flat(**which):
        return np.concatenate(shuffled_batches(lengths, 16, **which)).tolist()

    assert flat(seed=1, epoch=0) == flat(seed=1, epoch=0)
    assert flat(seed=1, epoch=0) != flat(seed=1, epoch=1) != flat(seed=2, epoch=1)


def test_batches_waste_little_on_padding_and_mix_the_rows():
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 100, 2000)
    batches = shuffled_batches(lengths, 16, seed=1, epoch=0)
    padded = sum(lengths[b].max() * len(b) for b in batches)
    plain = sum(lengths[b].max() * len(b) for b in rng.permutation(2000).reshape(-1, 16))
    assert lengths.sum() / padded > 0.9 > lengths.sum() / plain
    # two epochs put different rows together: few pairs of neighbours repeat
    pairs = [
        {(a, b) for batch in shuffled_batches(lengths, 16, 1, e) for a in batch for b in batch if a < b}
        for e in (0, 1)
    ]
    assert len(pairs[0] & pairs[1]) < 0.2 * len(pairs[0])


def test_prediction_batches_cover_every_row_in_order_of_length():
    lengths = np.random.default_rng(0).integers(3, 100, 77)
    order = np.concatenate(list(by_length(lengths, 10)))
    assert sorted(order.tolist()) == list(range(77)) and np.all(np.diff(lengths[order]) >= 0)


# training


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A pretrained folder (random weights) and the three sets of a task that can be learnt."""
    folder = tmp_path_factory.mktemp("task")
    write_model(folder / "pretrained", initializer_range=0.02)
    for name, count, seed in (("train", 240, 1), ("dev", 60, 2), ("test", 60, 3)):
        write_reviews(folder / f"{name}.tsv", count, seed)
    return folder


def settings(task, output, **changes):
    values = dict(
        model_name_or_path=str(task / "pretrained"), train=str(task / "train.tsv"), dev=str(task / "dev.tsv"),
        output_dir=str(output), max_seq_len=32, batch_size=16, learning_rate=1e-2, num_train_epochs=3,
        logging_steps=4, seed=5,
    )  # fmt: skip
    return FinetuneSettings(**{**values, **changes})


@pytest.fixture(scope="module")
def finished(task, tmp_path_factory):
    """An uninterrupted run: (folder, results)."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, finetune(settings(task, folder, test=str(task / "test.tsv")), quiet=True)


def weights(folder):
    return {
        name: tensor.numpy() for name, tensor in paddle.load(str(folder / "model_state.pdparams")).items()
    }


def same_weights(one, other):
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def figures(folder):
    """metrics.jsonl without the columns that depend on the clock."""
    return [
        {k: v for k, v in row.items() if "per_second" not in k and k != "tokens"}
        for row in read_metrics(folder / "metrics.jsonl")
    ]


def test_it_learns_and_says_so(finished):
    folder, results = finished
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


def test_the_output_is_a_model_folder_with_label_names(finished, task):
    folder, results = finished
    assert ErnieConfig.from_file(folder).id2label == {0: "bad", 1: "good"}
    assert ErnieTokenizer.from_pretrained(folder).vocabulary.tokens == TOKENS
    again = evaluate(folder, task / "test.tsv")
    assert again == pytest.approx({"examples": 60, **results["test"]}, rel=1e-5)


def test_learning_rate_warms_up_and_decays_to_zero(finished):
    rates = {
        row["step"]: row["learning_rate"]
        for row in read_metrics(finished[0] / "metrics.jsonl")
        if "eval" not in row
    }
    assert rates[4] == pytest.approx(1e-2 * 3 / 4)  # 4 warm-up steps of 45; row 4 shows the rate of step 3
    assert rates[45] == pytest.approx(1e-2 * (45 - 44) / (45 - 4))
    assert max(rates.values()) == rates[8] and rates[44] < rates[20]


def test_steps_equal_a_plain_loop(task, tmp_path):
    """The first epoch, dropout off, against a loop written out with Paddle's own AdamW."""
    model_folder = write_model(
        tmp_path / "model", initializer_range=0.02, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    chosen = settings(
        task, tmp_path / "run", model_name_or_path=str(model_folder), num_train_epochs=1, warmup_ratio=0.0
    )
    finetune(chosen, quiet=True)

    paddle.seed(chosen.seed)
    model = ErnieForSequenceClassification.from_pretrained(model_folder, num_labels=2)
    model.train()
    tokenizer = ErnieTokenizer.from_pretrained(model_folder)
    examples = read_examples(task / "train.tsv")
    optimizer = paddle.optimizer.AdamW(
        parameters=model.parameters(), weight_decay=0.01, grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
        apply_decay_param_fun=lambda name: name in decayed,
    )  # fmt: skip
    decayed = {p.name for n, p in model.named_parameters() if not n.endswith("bias") and "norm" not in n}
    lengths = [len(tokenizer.encode(e.text_a)["input_ids"]) for e in examples]
    batches = shuffled_batches(lengths, chosen.batch_size, chosen.seed, 0)
    for step, numbers in enumerate(batches):
        optimizer.set_lr(chosen.learning_rate * (len(batches) - step) / len(batches))
        batch = tokenizer([examples[n].text_a for n in numbers])
        labels = paddle.to_tensor([["bad", "good"].index(examples[n].label) for n in numbers])
        logits = model(paddle.to_tensor(batch["input_ids"]), paddle.to_tensor(batch["token_type_ids"]))
        paddle.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.clear_grad()
    found = weights(tmp_path / "run")
    for name, tensor in model.state_dict().items():
        np.testing.assert_allclose(found[name], tensor.numpy(), atol=2e-5, err_msg=name)


def test_the_best_epoch_is_kept_not_the_last(task, tmp_path):
    chosen = settings(task, tmp_path / "run", num_train_epochs=4, lr_scheduler_type="cosine")
    results = finetune(chosen, quiet=True)
    kept = evaluate(tmp_path / "run", task / "dev.tsv", max_seq_len=32)
    best = max(results["epochs"], key=lambda scores: scores["accuracy"])
    assert results["dev"] == best and kept["accuracy"] == best["accuracy"]
    assert kept["loss"] == pytest.approx(best["loss"], rel=1e-5)
    assert best_epoch([{"accuracy": 0.5}, {"accuracy": 0.9}, {"accuracy": 0.9}], "accuracy") == 1


def test_seeds_and_random_weights_give_other_models(task, tmp_path, finished):
    base = settings(task, tmp_path / "again")
    finetune(base, quiet=True)
    assert same_weights(tmp_path / "again", finished[0])
    gentle = dict(num_train_epochs=1, learning_rate=1e-4)
    finetune(settings(task, tmp_path / "seed", seed=6, **gentle), quiet=True)
    finetune(settings(task, tmp_path / "scratch", from_scratch=True, **gentle), quiet=True)
    start = weights(task / "pretrained")["ernie.encoder.layers.0.linear1.weight"]
    moved = {
        n: np.abs(weights(tmp_path / n)["ernie.encoder.layers.0.linear1.weight"] - start).mean()
        for n in ("seed", "scratch")
    }
    assert moved["scratch"] > 4 * moved["seed"] > 0


def test_a_finished_run_is_not_done_again(finished, task, monkeypatch):
    folder, results = finished
    monkeypatch.setattr(loop.FinetuningRun, "_train_step", None)  # would fail if called
    before = (folder / "model_state.pdparams").stat().st_mtime_ns
    assert finetune(settings(task, folder, test=str(task / "test.tsv")), quiet=True) == results
    other = finetune(
        settings(task, folder, test=str(task / "dev.tsv")), quiet=True
    )  # another test set is scored
    assert other["test"] == pytest.approx(results["dev"], rel=1e-5)
    assert (folder / "model_state.pdparams").stat().st_mtime_ns == before


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the program handles it."""


@pytest.mark.parametrize(
    "where, after",
    [
        ("_train_step", 7),
        ("_train_step", 15),
        ("_train_step", 33),
        ("_write_model", 1),
        ("save", 1),
        ("_finish", 0),
    ],
)
def test_killed_anywhere_it_continues_bit_for_bit(task, finished, tmp_path, monkeypatch, where, after):
    folder, calls = tmp_path / "run", [0]
    owner, name = (loop, "save_checkpoint") if where == "save" else (loop.FinetuningRun, where)
    original = getattr(owner, name)

    def dying(*args, **kwargs):
        if calls[0] == after:
            raise Killed
        calls[0] += 1
        return original(*args, **kwargs)

    chosen = settings(task, folder, test=str(task / "test.tsv"))
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, dying)
        with pytest.raises(Killed):
            finetune(chosen, quiet=True)
    paddle.seed(999)  # what the process drew meanwhile must not matter
    results = finetune(chosen, quiet=True)
    assert same_weights(folder, finished[0]) and figures(folder) == figures(finished[0])
    assert {**results, "model": ""} == {**finished[1], "model": "", "test_file": results["test_file"]}


@pytest.mark.parallel
def test_sigterm_stops_and_the_same_command_continues(task, finished, tmp_path):
    folder = tmp_path / "run"
    flags = [
        f"--{n}={v}"
        for n, v in settings(task, folder).to_dict().items()
        if v is not None and n not in ("task", "device")
    ]
    command = [sys.executable, "-m", "ernie_from_scratch", "finetune", *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.time() + 120
    while time.time() < deadline and run.poll() is None:
        if (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").stat().st_size > 0:
            break
        time.sleep(0.01)
    run.send_signal(signal.SIGTERM)
    _, error = run.communicate(timeout=120)
    assert run.returncode == 130 and "the same command continues" in error
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0 and "continuing" in done.stderr and "best epoch" in done.stdout
    assert [row["step"] for row in figures(folder)] == [row["step"] for row in figures(finished[0])]


def test_other_settings_or_data_are_refused(task, tmp_path, monkeypatch):
    shutil.copytree(task, tmp_path / "task")
    task, folder = tmp_path / "task", tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(loop.FinetuningRun, "_finish", lambda *args: {})
        finetune(settings(task, folder, num_train_epochs=1), quiet=True)
    with pytest.raises(UserError, match="learning_rate was 0.01"):
        finetune(settings(task, folder, num_train_epochs=1, learning_rate=1e-3), quiet=True)
    with open(task / "train.tsv", "a", encoding="utf-8") as file:
        file.write("good\t好\n")
    with pytest.raises(UserError, match="has changed since"):
        finetune(settings(task, folder, num_train_epochs=1), quiet=True)


def bad_calls(task, tmp_path):
    """name -> (flags, what the error must say)"""
    no_weights = tmp_path / "no_weights"
    no_weights.mkdir()
    for name in ("config.json", "vocab.txt"):
        shutil.copy(task / "pretrained" / name, no_weights / name)
    (tmp_path / "a_file").write_text("x")
    one_label = write(tmp_path / "one.tsv", "label\ttext_a\n1\t车\n1\t房\n")
    other_label = write(tmp_path / "other.tsv", "label\ttext_a\ngood\t车\nugly\t房\n")
    return {
        "missing train": (dict(train=tmp_path / "none.tsv"), "no such file"),
        "missing model": (dict(model_name_or_path=tmp_path / "none"), "none"),
        "no weights": (dict(model_name_or_path=no_weights), "no_weights"),
        "one label": (dict(train=one_label), "only one label"),
        "unknown label": (dict(dev=other_label), "unknown label 'ugly'"),
        "unwritable": (dict(output_dir=tmp_path / "a_file" / "run"), "a_file"),
        "too long": (dict(max_seq_len=65), "64 positions"),
        "itself": (dict(output_dir=task / "pretrained"), "pretrained model itself"),
        "no rate": (dict(learning_rate=0), "learning_rate"),
        "no epochs": (dict(num_train_epochs=0), "num_train_epochs"),
        "task": (dict(task="seq_clas"), "seq_cls"),
        "misspelt": (dict(learning_rat=1), "learning_rate"),
        "word for number": (dict(batch_size="many"), "batch_size"),
    }


@pytest.mark.parametrize("case", [
    "missing train", "missing model", "no weights", "one label", "unknown label", "unwritable", "too long",
    "itself", "no rate", "no epochs", "task", "misspelt", "word for number",
])  # fmt: skip
def test_mistakes_get_one_line_and_exit_code_2(task, tmp_path, capsys, case):
    changes, message = bad_calls(task, tmp_path)[case]
    values = {**settings(task, tmp_path / "run").to_dict(), **changes}
    flags = [f"--{name}={value}" for name, value in values.items() if value is not None]
    assert main(["finetune", *flags]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("error: ") and message in error[-1]
    assert not (tmp_path / "run").exists()


def test_evaluate_command(finished, task, tmp_path, capsys):
    folder, results = finished
    answers = tmp_path / "answers.tsv"
    flags = [
        "--model",
        str(folder),
        "--data",
        str(task / "test.tsv"),
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
    assert [label for label, _, _ in lines[1:]] == [e.label for e in read_examples(task / "test.tsv")]
    assert all(0.5 <= float(p) <= 1 for _, _, p in lines[1:])
    other = write(tmp_path / "other.tsv", "label\ttext_a\nugly\t车\n")
    assert main(["evaluate", "--model", str(folder), "--data", str(other)]) == 2
    assert "unknown label 'ugly'" in capsys.readouterr().err


def test_paddlenlp_reads_the_result_and_agrees(finished):
    transformers = pytest.importorskip("paddlenlp.transformers")
    folder, _ = finished
    theirs = transformers.ErnieForSequenceClassification.from_pretrained(str(folder))
    ours = ErnieForSequenceClassification.from_pretrained(folder)
    theirs.eval(), ours.eval()
    batch = ErnieTokenizer.from_pretrained(folder)(["我的车很好。", "一二三四五六七八九十，丑"])
    ids, types = (paddle.to_tensor(batch[name]) for name in ("input_ids", "token_type_ids"))
    np.testing.assert_allclose(ours(ids, types).numpy(), theirs(ids, token_type_ids=types).numpy(), atol=1e-5)


@pytest.mark.real_data
def test_chnsenticorp_is_read_whole(real_data):
    examples = read_examples(real_data / "chnsenticorp" / "dev.tsv")
    assert len(examples) == 1200 and label_names(examples) == ["0", "1"]
    assert 0.4 < np.mean([example.label == "1" for example in examples]) < 0.6
    assert max(len(example.text_a) for example in examples) > 500
