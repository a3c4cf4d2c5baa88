"""A tiny model folder and a task that the model can learn, for the tests of fine-tuning and deployment."""

import random
from pathlib import Path

import numpy as np
import paddle

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.finetuning.settings import FinetuneSettings
from ernie_from_scratch.models import ErnieForMaskedLM, ErnieForPretraining, ErnieForSequenceClassification
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer
from ernie_from_scratch.training.metrics import read_metrics

TOKENS = [
    "[PAD]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[UNK]",
    *"好坏美丑菜房车书的是很，。我你他一二三四五六七八九十",
]
CLASSES = {
    "fill-mask": ErnieForMaskedLM,
    "pretraining": ErnieForPretraining,
    "text-classification": ErnieForSequenceClassification,
}


def tiny_vocabulary() -> Vocabulary:
    return Vocabulary(TOKENS)


def tiny_config(**overrides) -> ErnieConfig:
    values = dict(vocab_size=len(TOKENS), hidden_size=32, num_attention_heads=2, intermediate_size=64,
                  max_position_embeddings=64, initializer_range=0.3)  # fmt: skip
    return ErnieConfig.preset("tiny", **{**values, **overrides})


def tiny_model(kind="pretraining", seed=0, **overrides):
    paddle.seed(seed)
    model = CLASSES[kind](tiny_config(**overrides))
    model.eval()
    return model


def write_model(folder, kind="pretraining", seed=0, **overrides) -> Path:
    """A from_pretrained folder with random weights, large enough for distinct predictions."""
    folder = Path(folder)
    tiny_model(kind, seed, **overrides).save_pretrained(folder)
    ErnieTokenizer(tiny_vocabulary()).save_pretrained(folder)
    return folder


def write_reviews(path, count, seed) -> Path:
    """A .tsv file of texts labelled "good" or "bad" by their one character of 好美 or 坏丑."""
    rng = random.Random(seed)
    lines = ["label\ttext_a"]
    for _ in range(count):
        good = rng.random() < 0.5
        words = [rng.choice("菜房车书的是很我你他") for _ in range(rng.randrange(2, 20))]
        words.insert(rng.randrange(len(words)), rng.choice("好美" if good else "坏丑"))
        lines.append(f"{'good' if good else 'bad'}\t{''.join(words)}。")
    path = Path(path)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_text(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def run_settings(task, output, **changes) -> FinetuneSettings:
    """A short run on the task of the fixture `review_task`."""
    values = dict(
        model_name_or_path=str(task / "pretrained"), train=str(task / "train.tsv"), dev=str(task / "dev.tsv"),
        output_dir=str(output), max_seq_len=32, batch_size=16, learning_rate=1e-2, num_train_epochs=3,
        logging_steps=4, seed=5,
    )  # fmt: skip
    return FinetuneSettings.from_mapping({**values, **changes})


def weights_of(folder):
    return {
        name: tensor.numpy() for name, tensor in paddle.load(str(folder / "model_state.pdparams")).items()
    }


def same_weights(one, other):
    one, other = weights_of(one), weights_of(other)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def figures_of(folder):
    """The rows of metrics.jsonl without the values that depend on time."""
    return [
        {k: v for k, v in row.items() if "per_second" not in k and k != "mfu"}
        for row in read_metrics(folder / "metrics.jsonl")
    ]
