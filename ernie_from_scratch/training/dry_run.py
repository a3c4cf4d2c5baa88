"""`ernie pretrain --dry_run`: check and describe a run without starting it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.dataset.batch import token_count
from ernie_from_scratch.dataset.pretraining_data import PretrainingData
from ernie_from_scratch.dataset.settings import SPLITS
from ernie_from_scratch.dataset.source import Split
from ernie_from_scratch.parallel.degrees import check_mp_degree, check_sharding_stage
from ernie_from_scratch.parallel.layer_split import stage_chunks
from ernie_from_scratch.planner.job import Job, Layout
from ernie_from_scratch.planner.memory import Memory, fullest_stage
from ernie_from_scratch.planner.memory_cpu import cpu_memory
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.training.checkpoint import newest_checkpoint
from ernie_from_scratch.training.device import select_device
from ernie_from_scratch.training.optimizer import parameter_count
from ernie_from_scratch.training.pretrain import build_model, build_source, corpus_prefixes, load_vocabulary
from ernie_from_scratch.training.schedule import WarmupDecay
from ernie_from_scratch.training.settings import PretrainSettings


def layout_of(settings: PretrainSettings) -> Layout:
    """The planner's `Layout` of a run whose settings have been checked."""
    assert settings.dp_degree is not None
    return Layout(
        settings.dp_degree, settings.sharding_degree, settings.mp_degree, settings.pp_degree,
        settings.micro_batch_size, settings.use_recompute, settings.sharding_stage, settings.offload,
    )  # fmt: skip


def step_memory(settings: PretrainSettings, config: EncoderConfig) -> Memory:
    """The planner's `Memory` of the fullest process at the peak of an optimizer step.

    With --use_amp on a GPU in mixed precision, else in float32. Libraries, their buffers and memory that the allocator
    does not return are not included.
    """
    layout = layout_of(settings)
    rows, length = settings.micro_batch_size, settings.max_seq_len
    if settings.use_amp and paddle.get_device() != "cpu":
        precision = {"float16": "fp16", "bfloat16": "bf16"}[settings.amp_dtype]
        batch = settings.rows_per_pass * settings.accumulation
        job = Job(config, batch, length, precision, settings.masked_lm_prob)
        return fullest_stage(job, layout)[1]
    sharded_layers = layout.sharding_degree if layout.sharding_stage == 3 else 1
    num_predictions = round(settings.masked_lm_prob * rows * length)
    stages = [
        cpu_memory(
            config, rows, length, num_predictions, layout.mp_degree, layout.pp_degree, stage,
            settings.accumulation, sharding_degree=sharded_layers,
        )
        for stage in range(layout.pp_degree)
    ]  # fmt: skip
    fullest = max(stages, key=lambda memory: memory.total)
    if layout.sharding_stage == 3:
        return fullest
    return replace(fullest, optimizer=fullest.optimizer / layout.sharding_degree)


def dry_run(settings: PretrainSettings, processes: int | None = None) -> Iterator[str]:
    """Check what `pretrain` checks before its first step, and describe the run; nothing is written.

    Args:
        settings: of the run.
        processes: number of processes of the run; None: those that Paddle's launcher has started.

    Yields:
        Lines: model, batch, data, memory, schedule, and the first decoded sample of each split.

    Raises:
        UserError: as `pretrain` would.
    """
    settings.check(processes)
    if settings.device:
        select_device(settings.device)
    layout, on_cpu = layout_of(settings), paddle.get_device() == "cpu"
    check_sharding_stage(layout.sharding_stage, layout.offload, layout.degrees, on_cpu)
    prefixes = corpus_prefixes(settings.input_dir)
    vocabulary = load_vocabulary(settings, prefixes)
    data = build_source(settings, prefixes, vocabulary)
    model = build_model(settings, vocabulary)
    config = model.config
    check_mp_degree(config.num_attention_heads, config.intermediate_size, layout.mp_degree)
    stage_chunks(config.num_hidden_layers, layout.pp_degree, 0, settings.virtual_pp_degree)
    total = parameter_count(model)
    words = config.vocab_size * config.hidden_size
    yield (
        f"model      {config.num_hidden_layers} layers x {config.hidden_size}, {config.num_attention_heads} heads: "
        f"{total:,} parameters, {words:,} of them word embeddings ({config.vocab_size:,} x {config.hidden_size})"
    )
    batch = settings.rows_per_pass * settings.accumulation
    yield (
        f"batch      micro {layout.micro_batch_size} x dp {layout.dp_degree} x sharding {layout.sharding_degree} x "
        f"accumulation {settings.accumulation} = {batch} rows a step"
    )
    yield f"tokens     at most {batch * settings.max_seq_len:,} a step ({batch} x {settings.max_seq_len}){_fill(data)}"
    sizes = {name: len(data[name]) for name in SPLITS}
    yield f"data       samples: {', '.join(f'{name} {size:,}' for name, size in sizes.items())}"
    epochs = settings.max_steps * batch / sizes["train"]
    yield f"run        {settings.max_steps:,} steps, {epochs:.4g} epochs{_start(settings)}"
    memory = step_memory(settings, config)
    yield (
        f"memory     about {_bytes(memory.total)} a process beside Paddle itself: {_bytes(memory.weights)} weights, "
        f"{_bytes(memory.gradients)} gradients, {_bytes(memory.optimizer)} AdamW, {_bytes(memory.activations)} "
        "activations of full rows"
    )
    yield f"device     {paddle.get_device()}"
    yield f"schedule   {settings.lr_decay_style}: {_rates(settings)}"
    for name in SPLITS:
        if sizes[name]:
            yield f"first sample of {name}:"
            yield from _sample(data[name], vocabulary)
        else:
            yield f"no sample in {name} under --split {settings.split}"


def _fill(data: PretrainingData) -> str:
    batch = data["train"].batch(np.arange(min(256, len(data["train"]))))
    rows = len(batch["input_ids"])
    tokens, masked = token_count(batch) / rows, len(batch["masked_positions"]) / rows
    return f"; on average {tokens:.1f} a row, {masked:.1f} of them masked"


def _start(settings: PretrainSettings) -> str:
    assert settings.output_dir is not None
    folder = Path(settings.output_dir)
    newest = newest_checkpoint(folder, log=lambda text: None) if folder.is_dir() else None
    return f"; {folder} would resume from {newest.name}" if newest else f", into {folder}"


def _rates(settings: PretrainSettings) -> str:
    assert settings.decay_steps is not None
    steps = sorted({0, 1, settings.warmup_steps, settings.max_steps // 2, settings.max_steps - 1})
    schedule = WarmupDecay(
        settings.max_lr, settings.min_lr, settings.warmup_steps, settings.decay_steps, settings.lr_decay_style
    )
    parts = []
    for step in (step for step in steps if step < settings.max_steps):
        schedule.last_epoch = step
        parts.append(f"step {step + 1:,}: {schedule.get_lr():.3g}")
    floor = f"{settings.min_lr:.3g} from step {settings.decay_steps:,}"
    return f"{', '.join(parts)}; warm-up of {settings.warmup_steps:,} steps, {floor}"


def _sample(split: Split, vocabulary: Vocabulary) -> Iterator[str]:
    batch = split.batch(np.array([0]))
    ids, mask = batch["input_ids"][0], batch["attention_mask"]
    ids = ids if mask is None else ids[: int(mask[0].sum())]
    yield "  " + " ".join(vocabulary.tokens[i] for i in ids)
    masked = [
        f"{position}: {vocabulary.tokens[label]}"
        for position, label in zip(batch["masked_positions"], batch["masked_lm_labels"], strict=True)
    ]
    yield f"  masked positions {', '.join(masked)}"
    if "next_sentence_label" in batch:
        yield f"  sentence pair label {int(batch['next_sentence_label'][0])}"


def _bytes(number: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"
