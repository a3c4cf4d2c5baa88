"""What is to be trained (`Job`), and how it is divided among GPUs (`Layout`)."""

import math
from dataclasses import dataclass
from pathlib import Path

from ernie_from_scratch.config import (
    CONFIG_CLASSES,
    EncoderConfig,
    ErnieConfig,
    UserError,
    config_class_of_file,
)
from ernie_from_scratch.config.base import nearest_choice
from ernie_from_scratch.dataset.settings import DataSettings
from ernie_from_scratch.parallel.degrees import Degrees, check_global_batch, check_mp_degree
from ernie_from_scratch.parallel.layer_split import stage_chunks

# Names of the planner only. ernie_230b is the network of PaddleNLP's examples/language_model/ernie
# (config/ernie_230b_config_proj.json); its weights are not published, so it is not a preset of ErnieConfig. There its
# word embeddings have 512 dimensions, projected to 12,288; here they have 12,288, which makes 0.16 % more parameters.
PRESETS = {
    "ernie_base": ErnieConfig.PRESETS["ernie-1.0-base-zh"],
    "ernie_large": ErnieConfig.PRESETS["ernie-2.0-large-zh"],
    "ernie_230b": dict(
        num_hidden_layers=128, hidden_size=12288, num_attention_heads=96, intermediate_size=4 * 12288,
        vocab_size=30000, max_position_embeddings=512, type_vocab_size=4, hidden_act="gelu",
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    ),
}  # fmt: skip


def find_config(name: str) -> EncoderConfig:
    """The configuration with this name, or that of a config.json or model folder.

    Raises:
        UserError: neither a known name nor a readable configuration.
    """
    if name in PRESETS:
        return ErnieConfig.from_dict(PRESETS[name])
    for config_class in CONFIG_CLASSES.values():
        if name in config_class.PRESETS:
            return config_class.preset(name)
    if Path(name).exists() or name.endswith(".json") or "/" in name:
        return config_class_of_file(name).from_file(name)
    presets = [preset for config_class in CONFIG_CLASSES.values() for preset in config_class.PRESETS]
    hint = nearest_choice(name, [*PRESETS, *presets])
    raise UserError(f"unknown model: {name} (no config.json either); {hint}")


@dataclass(frozen=True)
class Job:
    """One optimizer step: `global_batch_size` rows of `max_seq_len` tokens through the network of `config`.

    `masked_lm_prob` is the fraction of tokens that are masked, for which the LM head computes logits. Raises UserError
    for sizes below 1 and for rows longer than max_position_embeddings.
    """

    config: EncoderConfig
    global_batch_size: int
    max_seq_len: int
    precision: str = "fp16"
    masked_lm_prob: float = DataSettings.masked_lm_prob

    def __post_init__(self) -> None:
        for name in ("global_batch_size", "max_seq_len"):
            if getattr(self, name) < 1:
                raise UserError(f"too small: --{name} is {getattr(self, name)}; give 1 or more")
        if not 0 < self.masked_lm_prob <= 1:
            raise UserError(
                f"not a probability: --masked_lm_prob is {self.masked_lm_prob}; give more than 0, at most 1"
            )
        positions = self.config.max_position_embeddings
        if self.max_seq_len > positions:
            raise UserError(
                f"rows too long: --max_seq_len is {self.max_seq_len}, the model has {positions} positions "
                "(max_position_embeddings); lower --max_seq_len"
            )

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.global_batch_size * self.max_seq_len


@dataclass(frozen=True)
class Layout:
    """One way to divide a job among GPUs: the four degrees, the micro batch, and what is done to save memory.

    Attributes:
        dp_degree, sharding_degree, mp_degree, pp_degree: data, sharded data, tensor (model) and pipeline parallel.
            Ranks are numbered as in Paddle's Fleet: mp varies fastest, then sharding, then pp, then dp.
        micro_batch_size: rows of one forward pass.
        recompute: keep only the inputs of the layers, and run their forward pass again in backward.
        sharding_stage: 1 shards the optimizer state, 2 the gradients too, 3 the weights too (ZeRO, Rajbhandari et al.
            2020).
        offload: keep the optimizer state in host memory.
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
    def degrees(self) -> Degrees:
        return self.dp_degree, self.sharding_degree, self.mp_degree, self.pp_degree

    @property
    def gpus(self) -> int:
        return math.prod(self.degrees)

    def micro_batches(self, job: Job) -> int:
        """Micro batches of a step on each pipeline."""
        return job.global_batch_size // (self.dp_degree * self.sharding_degree * self.micro_batch_size)

    def check(self, job: Job) -> None:
        """UserError unless the layers, the tensors and the batch can be divided by the degrees."""
        config = job.config
        stage_chunks(config.num_hidden_layers, self.pp_degree, 0)
        check_mp_degree(config.num_attention_heads, config.intermediate_size, self.mp_degree)
        check_global_batch(job.global_batch_size, self.micro_batch_size, self.dp_degree, self.sharding_degree)

    def invalid_reason(self, job: Job) -> str:
        """The message of `check`; "" for a valid layout."""
        try:
            self.check(job)
        except UserError as error:
            return str(error)
        return ""


def divisors(number: int) -> list[int]:
    """In ascending order."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})
