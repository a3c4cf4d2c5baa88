"""From settings to the things a run needs: vocabulary, data and model."""

import json
from pathlib import Path

from ernie_from_scratch.config import ErnieConfig, UserError
from ernie_from_scratch.dataset.mask_schedule import read_schedule
from ernie_from_scratch.dataset.pretraining_data import PretrainingData
from ernie_from_scratch.models import ErnieForPretraining
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary


def corpus_prefixes(input_dir):
    """Read `input_dir` as a prefix, a folder of prepared corpora, or 'weight prefix weight prefix'.

    Returns:
        List of (weight, prefix).

    Raises:
        UserError: nothing prepared is there, or a weight isn't a positive number.
    """
    path, words = Path(input_dir), str(input_dir).split()
    in_one = path.is_dir() or Path(f"{path}_ids.npy").exists()  # a path may hold spaces
    if len(words) > 1 and not in_one:
        if len(words) % 2:
            raise UserError(f"--input_dir {input_dir!r}: expected 'weight prefix weight prefix …'")
        try:
            return [(float(weight), prefix) for weight, prefix in zip(words[::2], words[1::2], strict=True)]
        except ValueError as error:
            raise UserError(f"--input_dir {input_dir!r}: a weight is not a number ({error})") from error
    if path.is_dir():
        prefixes = sorted(str(file)[: -len("_ids.npy")] for file in path.glob("*_ids.npy"))
        if not prefixes:
            raise UserError(f"no prepared corpus (*_ids.npy) in {path}; make one with `ernie prepare`")
        return [(1.0, prefix) for prefix in prefixes]
    if not Path(f"{path}_ids.npy").exists():
        raise UserError(f"no prepared corpus at {path}_ids.npy; make one with `ernie prepare`")
    return [(1.0, str(path))]


def load_vocabulary(settings, prefixes):
    """The vocabulary given by the settings, else the one that the first corpus was prepared with."""
    if settings.tokenizer_name_or_path:
        return Vocabulary.load(settings.tokenizer_name_or_path)
    meta = Path(f"{prefixes[0][1]}_meta.json")
    if not meta.exists():
        raise UserError(f"{meta} is missing, so the vocabulary is not known; give --tokenizer_name_or_path")
    return Vocabulary.load(json.loads(meta.read_text(encoding="utf8"))["vocabulary"]["path"])


def build_data(settings, prefixes, vocabulary):
    """The corpus as train, valid and test splits of masked samples; UserError when nothing is left to train on."""
    data = PretrainingData(
        prefixes=prefixes,
        vocabulary=vocabulary,
        split=settings.split,
        max_seq_len=settings.max_seq_len,
        masking=settings.masking,
        masked_lm_prob=settings.masked_lm_prob,
        max_ngrams=settings.max_ngrams,
        sentence_pairs=settings.sentence_pairs,
        short_seq_prob=settings.short_seq_prob,
        seed=settings.seed,
        mask_schedule=read_schedule(
            settings.mask_schedule, settings.max_steps, samples_per_step=settings.global_batch_size
        ),
        favor_longer_ngram=settings.favor_longer_ngram,
        replace_per=settings.replace_per,
        max_sentences=settings.max_sentences,
    )
    if not len(data["train"]):
        raise UserError(
            f"{settings.input_dir}: the train split is empty under --split {settings.split}; add documents"
        )
    return data


def build_model(settings, vocabulary):
    """`ErnieForPretraining` with a folder's or published model's weights, or with random ones.

    Random weights come from a preset, a config file, or --model_name_or_path with --continue_training false.

    Raises:
        UserError: the network has fewer word embeddings than the vocabulary tokens, or fewer positions than a
            row, or heads that don't fit it.
    """
    switches = {"enable_recompute": settings.use_recompute, "pack_rows": settings.pack_rows}
    name = settings.model_name_or_path
    if name and settings.continue_training is not False:
        model = ErnieForPretraining.from_pretrained(name, **switches)
        check_fits(settings, model.config, vocabulary, name)
        return model
    if name and not Path(name).is_dir():
        config, source = ErnieConfig.preset(name, **switches), name
    elif settings.config_name:
        config = ErnieConfig.preset(settings.config_name, vocab_size=len(vocabulary), **switches)
        source = settings.config_name
    else:
        source = name or settings.ernie_config_file
        config = ErnieConfig.from_dict({**ErnieConfig.from_file(source).to_dict(), **switches})
    check_fits(settings, config, vocabulary, source)
    return ErnieForPretraining(config)


def check_fits(settings, config, vocabulary, source):
    """UserError unless the network of `source` has room for the vocabulary and for a row."""
    if config.vocab_size < len(vocabulary):
        raise UserError(
            f"{source} has {config.vocab_size} word embeddings (vocab_size), the vocabulary {len(vocabulary)} "
            "tokens; give the vocabulary that the model was made with, or for random weights raise vocab_size"
        )
    if config.max_position_embeddings < settings.max_seq_len:
        raise UserError(
            f"{source} has {config.max_position_embeddings} positions (max_position_embeddings); lower "
            f"--max_seq_len {settings.max_seq_len}"
        )
