"""What is to be trained, and the ways of spreading it over GPUs."""

import difflib
import math
from dataclasses import dataclass
from pathlib import Path

from ernie_from_scratch.config import ErnieConfig, UserError

# Names that only the planner knows. ernie_230b is the network of PaddleNLP's examples/language_model/ernie
# (config/ernie_230b_config_proj.json); nobody published its weights, so it is no preset of ErnieConfig. Its word
# embeddings there are 512 wide and then mapped to 12,288; ours are 12,288 wide, which makes 0.16 % more parameters.
PRESETS = {
    "ernie_base": ErnieConfig.PRESETS["ernie-1.0-base-zh"],
    "ernie_large": ErnieConfig.PRESETS["ernie-2.0-large-zh"],
    "ernie_230b": dict(
        num_hidden_layers=128, hidden_size=12288, num_attention_heads=96, intermediate_size=4 * 12288,
        vocab_size=30000, max_position_embeddings=512, type_vocab_size=4, hidden_act="gelu",
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    ),
}  # fmt: skip


def find_config(name):
    """The `ErnieConfig` called `name`, or that of a config.json or model folder.

    Raises:
        UserError: neither a known name nor a readable configuration.
    """
    if name in PRESETS:
        return ErnieConfig.from_dict(PRESETS[name])
    if name in ErnieConfig.PRESETS:
        return ErnieConfig.preset(name)
    if Path(name).exists() or name.endswith(".json") or "/" in name:
        return ErnieConfig.from_file(name)
    known = [*PRESETS, *ErnieConfig.preset_names()]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: a config.json, {', '.join(known)}"
    raise UserError(f"unknown model: {name}; {hint}")


@dataclass(frozen=True)
class Job:
    """One optimizer step: `global_batch_size` rows of `max_seq_len` tokens through the network of `config`.

    `asked_share` is the share of tokens whose word is asked (masked_lm_prob), and so gets scores of v words.
    Raises UserError for sizes below 1 and for rows that the network has no positions for.
    """

    config: ErnieConfig
    global_batch_size: int
    max_seq_len: int
    precision: str = "fp16"
    asked_share: float = 0.15

    def __post_init__(self):
        for name in ("global_batch_size", "max_seq_len"):
            if getattr(self, name) < 1:
                raise UserError(f"too small: --{name} is {getattr(self, name)}; give 1 or more")
        if not 0 < self.asked_share <= 1:
            raise UserError(
                f"not a share: --masked_lm_prob is {self.asked_share}; give more than 0, at most 1"
            )
        positions = self.config.max_position_embeddings
        if self.max_seq_len > positions:
            raise UserError(
                f"rows too long: --max_seq_len is {self.max_seq_len}, the model has {positions} positions "
                "(max_position_embeddings); lower the one or raise the other"
            )

    @property
    def tokens(self):
        """Tokens of a step."""
        return self.global_batch_size * self.max_seq_len


@dataclass(frozen=True)
class Layout:
    """One way to spread a job: four degrees, rows of a micro batch, and what is done to save memory.

    `sharding_stage`: 1 divides the optimizer's state among the sharding group, 2 the gradients too, 3 the weights too
    (ZeRO, Rajbhandari et al. 2020). `offload`: the optimizer's state lies in the machine's own memory.
    Ranks count as in Paddle's Fleet: mp neighbours are next to each other, then sharding, then pp, then dp.
    """

    dp_degree: int = 1
    sharding_degree: int = 1
    mp_degree: int = 1
    pp_degree: int = 1
    micro_batch_size: int = 1
    recompute: bool = False
    sharding_stage: int = 1
    offload: bool = False

    @property
    def gpus(self):
        return self.dp_degree * self.sharding_degree * self.mp_degree * self.pp_degree

    def micro_batches(self, job):
        """Micro batches of a step that each pipeline works through."""
        return job.global_batch_size // (self.dp_degree * self.sharding_degree * self.micro_batch_size)

    def misfit(self, job):
        """Why the network or the batch cannot be divided like this; "" when it can."""
        config, mp = job.config, self.mp_degree
        rows = self.dp_degree * self.sharding_degree * self.micro_batch_size
        if self.pp_degree > config.num_hidden_layers:
            return f"{config.num_hidden_layers} layers are too few for {self.pp_degree} pipeline stages"
        for name in ("num_attention_heads", "intermediate_size"):  # a vocabulary is filled up
            if getattr(config, name) % mp:
                return f"{name} {getattr(config, name)} is no multiple of mp_degree {mp}"
        if job.global_batch_size % rows:
            return (
                f"global_batch_size {job.global_batch_size} is no multiple of dp {self.dp_degree} x sharding "
                f"{self.sharding_degree} x micro batch {self.micro_batch_size} = {rows}"
            )
        return ""


def divisors(number):
    """All of them, smallest first."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})
