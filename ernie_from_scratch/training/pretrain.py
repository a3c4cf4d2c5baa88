"""Pretraining, from settings to a finished run."""

import json
from pathlib import Path

import paddle

from ernie_from_scratch.config import EncoderConfig, UserError
from ernie_from_scratch.dataset.mask_schedule import read_schedule
from ernie_from_scratch.dataset.pretraining_data import PretrainingData
from ernie_from_scratch.models.registry import ModelFamily, family_of_folder, family_of_preset, find_family
from ernie_from_scratch.models.task_model import TaskModel
from ernie_from_scratch.objectives import MaskedLMWithPair
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.training.evaluation import MaskedLMEvaluator
from ernie_from_scratch.training.progress import TrainingProgress
from ernie_from_scratch.training.settings import PretrainSettings
from ernie_from_scratch.training.start import start_processes
from ernie_from_scratch.training.trainer import Trainer, TrainResult
from ernie_from_scratch.utils.folders import atomic_folder


def pretrain(settings: PretrainSettings, quiet: bool = False) -> TrainResult:
    """Run or resume the pretraining that `settings` describes; a finished run has its model in `final/`.

    Raises:
        UserError: settings, corpus or run folder that can't work; the message says what to do.
    """
    settings.check()
    processes, strategy = start_processes(settings)
    prefixes = corpus_prefixes(settings.input_dir)
    vocabulary = load_vocabulary(settings, prefixes)
    source = build_source(settings, prefixes, vocabulary)
    paddle.seed(settings.seed)
    model = build_model(settings, vocabulary)
    objective = MaskedLMWithPair(settings.sentence_pairs)
    evaluator = MaskedLMEvaluator(source, settings)
    progress = TrainingProgress(settings.max_steps, quiet or processes.local_rank > 0)
    trainer = Trainer(settings, processes, strategy, model, source, objective, evaluator, progress=progress)
    with trainer.hold_folder(), trainer.open_run():
        result = trainer.train()
        if result.finished:
            write_final(trainer, vocabulary)
    if not result.finished:
        progress.log_line(f"stopped at step {result.step}; the same command resumes from there")
    return result


def write_final(trainer: Trainer, vocabulary: Vocabulary) -> None:
    """`final/`: weights, config and vocabulary as a from_pretrained folder. Every process calls it."""
    weights = trainer.checkpoints.gather_weights()
    if trainer.checkpoints.writes:
        with atomic_folder(trainer.folder / "final", replace=True) as folder:
            trainer.network.model.save_pretrained(folder, weights=weights)
            vocabulary.save(folder / "vocab.txt")


def corpus_prefixes(input_dir: str) -> list[tuple[float, str]]:
    """Read `input_dir` as a prefix, a folder of prepared corpora, or 'weight prefix weight prefix'.

    Returns:
        List of (weight, prefix).

    Raises:
        UserError: nothing prepared is there, or a weight isn't a positive number.
    """
    path, words = Path(input_dir), str(input_dir).split()
    is_one_path = path.is_dir() or Path(f"{path}_ids.npy").exists()  # a path may contain spaces
    if len(words) > 1 and not is_one_path:
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


def load_vocabulary(settings: PretrainSettings, prefixes: list[tuple[float, str]]) -> Vocabulary:
    """The vocabulary given by the settings, else the one that the first corpus was prepared with."""
    if settings.tokenizer_name_or_path:
        return Vocabulary.load(settings.tokenizer_name_or_path)
    meta = Path(f"{prefixes[0][1]}_meta.json")
    if not meta.exists():
        raise UserError(f"{meta} is missing, so the vocabulary is not known; give --tokenizer_name_or_path")
    return Vocabulary.load(json.loads(meta.read_text(encoding="utf8"))["vocabulary"]["path"])


def build_source(
    settings: PretrainSettings, prefixes: list[tuple[float, str]], vocabulary: Vocabulary
) -> PretrainingData:
    """The corpus as train, valid and test splits of masked samples; UserError when the train split is empty."""
    source = PretrainingData(
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
            settings.mask_schedule, settings.max_steps, samples_per_step=settings.rows_per_step
        ),
        favor_longer_ngram=settings.favor_longer_ngram,
        replace_per=settings.replace_per,
        max_sentences=settings.max_sentences,
    )
    if not len(source["train"]):
        raise UserError(
            f"{settings.input_dir}: the train split is empty under --split {settings.split}; add documents"
        )
    return source


def find_model_family(settings: PretrainSettings) -> ModelFamily:
    """The family of the network: that of --model_type, which must agree with what a folder or a preset is."""
    wanted = find_family(settings.model_type)
    name = settings.model_name_or_path or settings.config_name
    if name and Path(name).is_dir():
        found = family_of_folder(name)
    else:
        found = (family_of_preset(name) if name else None) or wanted
    if found is not wanted:
        raise UserError(
            f"--model_type {wanted.model_type}: {name} is of type {found.model_type}; "
            f"give --model_type {found.model_type}"
        )
    return wanted


def build_model(settings: PretrainSettings, vocabulary: Vocabulary) -> TaskModel:
    """The network with its pretraining heads: a folder's or published model's weights, or random ones.

    Random weights come from a preset, a config file, or --model_name_or_path with --continue_training false.

    Raises:
        UserError: the network has fewer word embeddings than the vocabulary tokens, or fewer positions than a
            row, or heads that don't fit it.
    """
    family = find_model_family(settings)
    config_class, model_class = family.config_class, family.head("pretraining")
    name = settings.model_name_or_path
    if name and settings.continue_training is not False:
        model = model_class.from_pretrained(name, **settings.execution_fields)
        check_fits(settings, model.config, vocabulary, name)
        return model
    if name and not Path(name).is_dir():
        config, origin = config_class.preset(name, **settings.execution_fields), name
    elif settings.config_name:
        config = config_class.preset(
            settings.config_name, vocab_size=len(vocabulary), **settings.execution_fields
        )
        origin = settings.config_name
    else:
        origin = str(name or settings.ernie_config_file)
        config = config_class.from_file(origin).replace(**settings.execution_fields)
    check_fits(settings, config, vocabulary, origin)
    return model_class(config)


def check_fits(
    settings: PretrainSettings, config: EncoderConfig, vocabulary: Vocabulary, origin: str
) -> None:
    """UserError unless the network has an embedding for every token of the vocabulary and every position of a row."""
    if config.vocab_size < len(vocabulary):
        raise UserError(
            f"{origin} has {config.vocab_size} word embeddings (vocab_size), the vocabulary {len(vocabulary)} "
            "tokens; give the vocabulary that the model was made with, or for random weights raise vocab_size"
        )
    if config.max_position_embeddings < settings.max_seq_len:
        raise UserError(
            f"{origin} has {config.max_position_embeddings} positions (max_position_embeddings); lower "
            f"--max_seq_len {settings.max_seq_len}"
        )
