"""`ernie pretrain --dry_run`: what a run would be, without starting it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle

from ernie_from_scratch.dataset.collate import real_tokens
from ernie_from_scratch.dataset.settings import SPLITS
from ernie_from_scratch.planner.job import Job, Layout
from ernie_from_scratch.planner.memory import fullest_stage
from ernie_from_scratch.planner.memory_cpu import cpu_memory
from ernie_from_scratch.training.build import build_data, build_model, corpus_prefixes, load_vocabulary
from ernie_from_scratch.training.checkpoint import newest_checkpoint
from ernie_from_scratch.training.device import select_device
from ernie_from_scratch.training.optimizer import parameter_count
from ernie_from_scratch.training.schedule import WarmupDecay


def step_memory(settings, config):
    """The planner's `Memory` of the fullest process at the peak of an optimizer step.

    On a GPU under --use_amp that of mixed precision, else that of float32; libraries, their buffers and what the
    allocator does not give back are not counted.
    """
    if settings.use_amp and paddle.get_device() != "cpu":
        precision = {"float16": "fp16", "bfloat16": "bf16"}[settings.amp_dtype]
        job = Job(
            config, settings.global_batch_size, settings.max_seq_len, precision, settings.masked_lm_prob
        )
        layout = Layout(
            settings.dp_degree,
            settings.sharding_degree,
            settings.mp_degree,
            settings.pp_degree,
            settings.micro_batch_size,
            config.enable_recompute,
            settings.sharding_stage,
            settings.offload,
        )
        return fullest_stage(job, layout)[1]
    shared_out = settings.sharding_stage == 3
    asked = round(settings.masked_lm_prob * settings.micro_batch_size * settings.max_seq_len)
    stages = [
        cpu_memory(
            config,
            settings.micro_batch_size,
            settings.max_seq_len,
            asked,
            settings.mp_degree,
            settings.pp_degree,
            stage,
            settings.accumulation,
            shares=settings.sharding_degree if shared_out else 1,
        )
        for stage in range(settings.pp_degree)
    ]
    fullest = max(stages, key=lambda memory: memory.total)
    return fullest if shared_out else replace(fullest, optimizer=fullest.optimizer / settings.sharding_degree)


def dry_run(settings, processes=None):
    """Check everything that a run checks before it starts, and describe it; nothing is written.

    Yields:
        Lines: model, batch, data, memory, schedule, and the first decoded sample of each split.

    Raises:
        UserError: as `pretrain` would.
    """
    settings.check(processes)
    if settings.device:
        select_device(settings.device)
    prefixes = corpus_prefixes(settings.input_dir)
    vocabulary = load_vocabulary(settings, prefixes)
    data = build_data(settings, prefixes, vocabulary)
    model = build_model(settings, vocabulary)
    config = model.config
    total = parameter_count(model)
    words = config.vocab_size * config.hidden_size
    yield (
        f"model      {config.num_hidden_layers} layers x {config.hidden_size}, {config.num_attention_heads} heads: "
        f"{total:,} parameters, {words:,} of them word embeddings ({config.vocab_size:,} x {config.hidden_size})"
    )
    batch = settings.global_batch_size
    yield (
        f"batch      micro {settings.micro_batch_size} x dp {settings.dp_degree} x sharding "
        f"{settings.sharding_degree} x accumulation {settings.accumulation} = {batch} rows a step"
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


def _fill(data):
    batch = data["train"].batch(np.arange(min(256, len(data["train"]))))
    rows = len(batch["input_ids"])
    held, masked = real_tokens(batch) / rows, len(batch["masked_positions"]) / rows
    return f"; on average {held:.1f} a row, {masked:.1f} of them masked"


def _start(settings):
    folder = Path(settings.output_dir)
    newest = newest_checkpoint(folder, warn=lambda text: None) if folder.is_dir() else None
    return f"; {folder} would continue from {newest.name}" if newest else f", into {folder}"


def _rates(settings):
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


def _sample(split, vocabulary):
    batch = split.batch(np.array([0]))
    ids, mask = batch["input_ids"][0], batch["attention_mask"]
    ids = ids if mask is None else ids[: int(mask[0].sum())]
    yield "  " + " ".join(vocabulary.tokens[i] for i in ids)
    asked = [
        f"{position}: {vocabulary.tokens[label]}"
        for position, label in zip(batch["masked_positions"], batch["masked_lm_labels"], strict=True)
    ]
    yield f"  asked at {', '.join(asked)}"
    if "next_sentence_label" in batch:
        yield f"  sentence pair label {int(batch['next_sentence_label'][0])}"


def _bytes(number):
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"
