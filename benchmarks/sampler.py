"""Masked samples per second of one core, batch included: the C++ sampler, its plain twin, PaddleNLP's dataset.

    python benchmarks/sampler.py [--prefix PREFIX --vocab VOCAB] [--peer FOLDER]

FOLDER holds PaddleNLP's ernie-1.0 `data_tools` (releases 2.4 to 2.8, model_zoo/ernie-1.0; it isn't in the
wheel); without it only this project is timed. Without PREFIX the text is made up: 2 million tokens, words by
Zipf's law. The measurements take turns, so that a busy machine slows all of them; figures are medians of CPU
time.
"""

import argparse
import importlib
import inspect
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ernie_from_scratch import native
from ernie_from_scratch.dataset.pretraining_data import PretrainingData
from ernie_from_scratch.dataset.sampler import PythonSampler
from ernie_from_scratch.text.corpus.spans import ENTITY_START, PHRASE_START, TYPE_SHIFT, WORD_START
from ernie_from_scratch.text.tokenizers.vocabulary import SPECIAL_TOKENS, Vocabulary

BATCH = 64
ROUNDS = 5


def make_up_corpus(folder: Path, tokens=2_000_000):
    """PREFIX and vocabulary of text with words of 1 to 4 characters, of which one in ten is an entity."""
    rng = np.random.default_rng(0)
    han = [chr(0x4E00 + number) for number in range(6000)]
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *han, *(f"##{character}" for character in han)])
    starts = rng.random(tokens) < 0.6
    starts[0] = True
    word = np.cumsum(starts) - 1
    kinds = np.where(rng.random(tokens) < 0.1, rng.integers(1, 7, tokens), 0)[word]
    phrases = starts & ((rng.random(tokens) < 0.6) | (kinds > 0))
    characters = np.minimum(rng.zipf(1.2, tokens) - 1, len(han) - 1)
    ids = len(SPECIAL_TOKENS) + characters + np.where(starts, 0, len(han))
    spans = (
        starts * WORD_START
        | phrases * PHRASE_START
        | (starts & (kinds > 0)) * ENTITY_START
        | kinds << TYPE_SHIFT
    )
    ends = np.unique(np.append(np.cumsum(rng.integers(8, 60, tokens // 34)), tokens))
    lens = np.diff(ends[ends <= tokens], prepend=0)
    docs = np.unique(np.append(np.arange(0, len(lens), 40), len(lens)))
    prefix = folder / "made_up"
    np.save(f"{prefix}_ids.npy", ids.astype(np.uint16))
    np.save(f"{prefix}_spans.npy", spans.astype(np.uint8))
    np.savez(f"{prefix}_idx.npz", lens=lens.astype(np.int32), docs=docs.astype(np.int64))
    return str(prefix), vocabulary


def own_batches(prefix, vocabulary, cache_dir, max_seq_len, masking, plain=False):
    """A function of a batch number, the sampler under test behind it."""
    data = PretrainingData([(1.0, prefix)], vocabulary, "1", max_seq_len, masking, cache_dir=cache_dir)
    split = data["train"]
    if plain:
        arguments = (data.corpora, split.tables, data.tokens, data.sample_rules, data.masking_rules)
        split = PythonSampler(*arguments, split.blend, max_seq_len)
    return lambda number: split.batch(np.arange(BATCH * number, BATCH * (number + 1)))


def peer_batches(folder, prefix, vocabulary, max_seq_len):
    """The same from PaddleNLP's ErnieDataset, stacked as its training script does."""
    sys.path.insert(0, str(folder))
    tools = importlib.import_module("data_tools.ernie_dataset")
    utils = importlib.import_module("data_tools.dataset_utils")
    ids = {token: number for number, token in enumerate(vocabulary.tokens)}
    names = SimpleNamespace(idx_to_token=dict(enumerate(vocabulary.tokens)), token_to_idx=ids)
    special_ids = {
        f"{name}_token_id": getattr(vocabulary, f"{name}_id") for name in ("cls", "sep", "mask", "pad")
    }
    tokenizer = SimpleNamespace(vocab=names, added_tokens_decoder={}, added_tokens_encoder={}, **special_ids)
    settings = {
        "name": "train",
        "tokenizer": tokenizer,
        "indexed_dataset": utils.make_indexed_dataset(prefix),
        "data_prefix": prefix,
        "num_epochs": None,
        "max_num_samples": 20_000,
        "masked_lm_prob": 0.15,
        "max_seq_length": max_seq_len,
        "short_seq_prob": 0.1,
        "seed": 1234,
        "binary_head": True,
        "args": SimpleNamespace(share_folder=False),
    }
    known = inspect.signature(tools.ErnieDataset).parameters
    dataset = tools.ErnieDataset(**{name: value for name, value in settings.items() if name in known})

    def batch(number):
        rows = [dataset[(BATCH * number + row) % len(dataset)] for row in range(BATCH)]
        return [np.stack(column) for column in list(zip(*rows, strict=True))[:3]]

    return batch


def seconds_per_sample(make_batch, first, seconds):
    start, number = time.process_time(), first
    while time.process_time() - start < seconds:
        make_batch(number)
        number += 1
    return (time.process_time() - start) / ((number - first) * BATCH)


def measure(candidates, seconds):
    """Median samples per CPU second of each, measured in turns."""
    taken = {name: [] for name in candidates}
    for turn in range(ROUNDS):
        for name, make_batch in candidates.items():
            taken[name].append(seconds_per_sample(make_batch, 100 * turn, seconds))
    return {name: 1 / statistics.median(times) for name, times in taken.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prefix")
    parser.add_argument("--vocab")
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU seconds of each turn")
    args = parser.parse_args()
    if native.helpers() is None:
        sys.exit(f"error: the C++ helpers are {native.why_missing()}; `ernie doctor` says what to do")
    with tempfile.TemporaryDirectory() as folder:
        if args.prefix:
            prefix, vocabulary = args.prefix, Vocabulary.load(args.vocab)
        else:
            prefix, vocabulary = make_up_corpus(Path(folder))
        print(
            "| row length | "
            + " | ".join(("C++ word", "C++ entity", "plain word", "PaddleNLP word", "ratio"))
            + " |"
        )
        print("|" + "---|" * 6)
        for max_seq_len in (128, 512):
            own = (prefix, vocabulary, Path(folder) / "cache", max_seq_len)
            candidates = {
                "word": own_batches(*own, "word"),
                "entity": own_batches(*own, "entity"),
                "plain": own_batches(*own, "word", plain=True),
            }
            if args.peer:
                candidates["peer"] = peer_batches(args.peer, prefix, vocabulary, max_seq_len)
            speed = measure(candidates, args.seconds)
            cells = [
                f"{speed[name]:,.0f}" if name in speed else "-"
                for name in ("word", "entity", "plain", "peer")
            ]
            ratio = f"{speed['word'] / speed['peer']:,.0f}" if args.peer else "-"
            print(f"| {max_seq_len} | " + " | ".join([*cells, ratio]) + " |", flush=True)


if __name__ == "__main__":
    main()
