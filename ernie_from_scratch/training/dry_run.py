"""`ernie pretrain --dry_run`: what a run would be, without starting it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

from ernie_from_scratch.dataset.data import SPLITS
from ernie_from_scratch.training.build import build_data, build_model, corpus_prefixes, load_vocabulary
from ernie_from_scratch.training.checkpoint import newest_checkpoint
from ernie_from_scratch.training.device import select_device
from ernie_from_scratch.training.loop import real_tokens
from ernie_from_scratch.training.optimizer import parameter_count
from ernie_from_scratch.training.schedule import WarmupDecay

ALLOCATOR = 1.15  # measured beside what the shapes say; `estimate_memory`


@dataclass
class Memory:
    """Bytes: weights, gradients and AdamW's two moments; activations of one micro batch."""

    state: float
    activations: float

    @property
    def total(self):
        return self.state + self.activations


def estimate_memory(settings, config, parameters):
    """Memory that a step needs at its peak, from shapes.

    State is 16 bytes a parameter: weight, gradient and two moments in float32; under O2 weight and gradient in
    half precision and a float32 master weight beside the moments, which is 16 again. For backward a layer keeps,
    per token, 14 vectors of H and 3 of I (inputs of products, q, k, v, sums before the norms) and the attention
    weights once, four times with dropout; with recompute only its input, and one layer at a time in full. The
    scores [M, V] exist three times: themselves, their softmax, their gradient. 15 percent are added for passing
    copies and the allocator. The counts are those of this package on a CPU in float32, where a growing process
    was within 5 percent of the estimate (7 cases: 2 to 6 layers, H 128 to 768, 1,024 to 4,096 tokens, lengths
    128 and 512, with and without dropout and recompute); a GPU keeps fewer copies.
    """
    tokens, hidden = settings.micro_batch_size * settings.max_seq_len, config.hidden_size
    size = 2 if settings.use_amp and paddle.get_device() != "cpu" else 4
    copies = 4 if config.attention_probs_dropout_prob else 1
    attention = copies * config.num_attention_heads * settings.max_seq_len
    layer = tokens * size * (14 * hidden + 3 * config.intermediate_size + attention)
    if config.enable_recompute:
        layers = layer + config.num_hidden_layers * tokens * size * hidden
    else:
        layers = layer * config.num_hidden_layers
    scores = 3 * tokens * settings.masked_lm_prob * config.vocab_size
    around = size * (4 * tokens * hidden + scores)
    return Memory(ALLOCATOR * 16 * parameters, ALLOCATOR * (layers + around))


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
    memory = estimate_memory(settings, config, total)
    yield (
        f"memory     about {_bytes(memory.total)} beside Paddle itself: {_bytes(memory.state)} weights, gradients and "
        f"AdamW, {_bytes(memory.activations)} activations of a micro batch of full rows"
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
