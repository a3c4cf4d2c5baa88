"""Settings of training runs, read alike by the command line, YAML files and notebooks.

`TrainSettings` has what every run of the training loop needs; `PretrainSettings` adds the corpus, the masks and the
starting weights of `ernie pretrain`, and finetuning/settings.py the examples of `ernie finetune`. Names and meanings
are those of PaddleNLP's ernie-1.0 scripts.
"""

from dataclasses import dataclass, fields
from functools import partial
from typing import Any, TypeVar

from ernie_from_scratch.config import CONFIG_CLASSES, DEFAULT_MODEL_TYPE, UserError
from ernie_from_scratch.dataset.settings import DataSettings
from ernie_from_scratch.parallel.degrees import check_layout
from ernie_from_scratch.utils.settings import REQUIRED, Settings, inherit, option, option_of

T = TypeVar("T", bound="TrainSettings")

DECAY_KINDS = ("linear", "cosine")
AMP_LEVELS = ("O1", "O2")
AMP_DTYPES = ("float16", "bfloat16")

run = partial(option, group="run")
model = partial(option, group="model")
batch = partial(option, group="batch")
degree = partial(option, group="processes", minimum=1, resumable=True)
division = partial(option, group="processes", resumable=True)
optimizer = partial(option, group="steps, schedule and optimizer")
execution = partial(option, group="precision, memory and speed")
records = partial(option, group="checkpoints, log and evaluation", resumable=True)


@dataclass
class TrainSettings(Settings):
    """Settings that all training runs share; `check()` raises UserError before anything is built."""

    output_dir: str = run(
        REQUIRED, "run folder; the same command continues a run that was stopped", path=True, resumable=True
    )
    device: str | None = run(None, "cpu, gpu or gpu:N; default: a GPU when there is one", resumable=True)
    num_workers: int = run(2, "threads that prepare batches ahead", resumable=True)
    seed: int = inherit(DataSettings, help="seed of weights, sample order, masks and dropout", group="run")

    model_name_or_path: str | None = model(None, "folder or name with the starting weights", path=True)

    max_seq_len: int = inherit(DataSettings, group="batch")
    micro_batch_size: int = batch(8, "rows of one forward pass", aliases=("micro_bsz",), minimum=1)
    global_batch_size: int | None = batch(
        None,
        "rows of one optimizer step = micro_batch_size x dp_degree x sharding_degree x accumulation; default: "
        "no accumulation",
        aliases=("global_bsz",),
    )

    dp_degree: int | None = degree(
        None,
        "data parallel processes: each reads its own rows; default: as many as there are",
        aliases=("num_dp",),
    )
    sharding_degree: int = degree(
        1, "data parallel processes that also shard the optimizer state", aliases=("num_sharding",)
    )
    mp_degree: int = degree(
        1, "tensor parallel processes: each holds a part of every layer's weights", aliases=("num_mp",)
    )
    pp_degree: int = degree(
        1, "pipeline parallel processes: each holds some of the layers", aliases=("num_pp",)
    )
    virtual_pp_degree: int = degree(
        1,
        "chunks of layers on each of 3 or more pp_degree processes: an interleaved, shorter pipeline bubble",
    )
    sharding_stage: int = division(
        1,
        "what sharding_degree shards: 1 optimizer state, 2 gradients too (on a GPU), 3 encoder layers too",
        choices=(1, 2, 3),
    )
    offload: bool = division(False, "keep the sharded optimizer state in the machine's memory (on a GPU)")
    use_sharding: bool | None = division(
        None, "false refuses a sharding_degree above 1; default: what the degree says"
    )
    share_folder: bool = division(
        False, "several machines see the same folders: only one of them writes the run folder"
    )

    max_steps: int = optimizer(
        500_000, "optimizer steps of the whole run", aliases=("num_train_steps",), minimum=1
    )
    max_lr: float = optimizer(1e-4, "highest learning rate", aliases=("learning_rate",))
    min_lr: float = optimizer(1e-5, "learning rate at decay_steps and after")
    warmup_rate: float = optimizer(0.01, "share of max_steps spent warming up", minimum=0, below=1)
    decay_steps: int | None = optimizer(None, "step at which min_lr is reached; default: max_steps")
    lr_decay_style: str = optimizer("linear", "shape of the decay", choices=DECAY_KINDS)
    weight_decay: float = optimizer(0.01, "AdamW weight decay (not on biases and norms)")
    grad_clip: float = optimizer(1.0, "largest global gradient norm; 0 turns clipping off")
    adam_beta2: float = optimizer(0.999, "decay of AdamW's second moment")

    use_amp: bool = execution(False, "compute in half precision where it is safe (on a GPU)")
    fp16_opt_level: str = execution(
        "O2",
        "O1: weights stay float32; O2: half-precision weights beside float32 master weights",
        choices=AMP_LEVELS,
    )
    amp_dtype: str = execution(
        "float16", "number type of --use_amp; float16 needs loss scaling", choices=AMP_DTYPES
    )
    scale_loss: float = execution(32768.0, "first loss scale under float16; it adapts itself")
    max_bad_steps: int = execution(
        10,
        "under loss scaling, steps in a row with a loss or gradient that is not finite before the run stops",
        minimum=1,
        resumable=True,
    )
    use_recompute: bool = execution(
        False, "drop activations and compute them again in backward: less memory, more time", resumable=True
    )
    pack_rows: bool = execution(
        False, "put short rows together instead of computing their padding: faster on a CPU, same losses"
    )
    to_static: bool = execution(False, "train on Paddle's static graph of the network")

    checkpoint_steps: int = records(500, "steps between checkpoints that a resume uses", minimum=1)
    save_steps: int = records(5000, "steps between checkpoints that are kept for good", minimum=1)
    keep: int = records(2, "newest checkpoints kept beside those of save_steps", minimum=1)
    logging_freq: int = records(20, "steps between log lines", aliases=("log_steps",), minimum=1)
    eval_freq: int = records(
        500, "steps between evaluations on valid and test; one more at the end; 0 turns them off"
    )

    def check(self: T, processes: int | None = None) -> T:
        """Fill in what follows from other settings and refuse what can't work in so many `processes`.

        None: in as many as there are.
        """
        super().check()
        check_layout(self, processes)
        if self.to_static and self.pack_rows:
            raise UserError("--to_static and --pack_rows: the static graph has fixed rows; drop one of them")
        if self.to_static and self.use_recompute:
            raise UserError(
                "--to_static and --use_recompute: the static graph keeps its activations; drop one of them"
            )
        if self.to_static and self.sharding_degree * self.mp_degree * self.pp_degree > 1:
            raise UserError("--to_static: works with dp_degree only; drop it, or leave the other degrees 1")
        self.decay_steps = self.decay_steps or self.max_steps
        return self

    @property
    def rows_per_pass(self) -> int:
        """Rows of one forward pass over all processes that read different rows."""
        return self.micro_batch_size * (self.dp_degree or 1) * self.sharding_degree

    @property
    def execution_fields(self) -> dict[str, bool]:
        """Fields of the network's configuration that say how it computes, not what."""
        return {"enable_recompute": self.use_recompute, "pack_rows": self.pack_rows}

    @property
    def rows_per_step(self) -> int:
        """Rows of one optimizer step: global_batch_size, after `check`."""
        return self.global_batch_size or self.rows_per_pass

    @property
    def accumulation(self) -> int:
        """Micro batches whose gradients each process adds up for one optimizer step."""
        return self.rows_per_step // self.rows_per_pass

    @property
    def warmup_steps(self) -> int:
        """Optimizer steps of the warm-up."""
        return round(self.warmup_rate * self.max_steps)

    def shared(self) -> dict[str, Any]:
        """Flags that must be equal in all processes of a run: all but paths, whose contents are compared instead."""
        return {f"--{f.name}": getattr(self, f.name) for f in fields(self) if not option_of(f).path}


@dataclass
class PretrainSettings(TrainSettings, DataSettings):
    """Settings of one pretraining run."""

    input_dir: str = option(
        REQUIRED,
        "prefix of a prepared corpus, a folder of them, or 'weight prefix weight prefix'",
        path=True,
        group="data",
    )
    use_sop: bool | None = option(
        None, "false: --sentence_pairs none; true: sop", aliases=("binary_head",), group="data"
    )
    model_type: str = model(DEFAULT_MODEL_TYPE, f"family of the network: {', '.join(CONFIG_CLASSES)}")
    continue_training: bool | None = model(
        None, "false: take only the configuration of --model_name_or_path, and start from random weights"
    )
    config_name: str | None = model(None, "preset to start from random weights, such as tiny")
    ernie_config_file: str | None = model(None, "config.json to start from random weights", path=True)
    tokenizer_name_or_path: str | None = model(
        None, "vocab.txt, folder or name; default: the corpus's own vocabulary", path=True
    )
    eval_iters: int = records(10, "micro batches of one evaluation", minimum=1)

    def check(self, processes: int | None = None) -> "PretrainSettings":
        """As `TrainSettings.check`; also that the starting weights and the objective are clear."""
        super().check(processes)
        sources = [n for n in ("model_name_or_path", "config_name", "ernie_config_file") if getattr(self, n)]
        if len(sources) != 1:
            found = " and ".join(f"--{n}" for n in sources) or "none of them"
            raise UserError(
                f"give one of --model_name_or_path, --config_name, --ernie_config_file; found {found}"
            )
        if self.continue_training and not self.model_name_or_path:
            raise UserError(
                "--continue_training true: no weights to continue from; give --model_name_or_path, or leave it out"
            )
        self._read_use_sop()
        return self

    def _read_use_sop(self) -> None:
        wanted = {None: self.sentence_pairs, True: "sop", False: "none"}[self.use_sop]
        if self.sentence_pairs not in ("sop", wanted):
            raise UserError(
                f"--use_sop {self.use_sop} and --sentence_pairs {self.sentence_pairs} contradict; keep one"
            )
        self.sentence_pairs = wanted
