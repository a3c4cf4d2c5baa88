"""Settings of training runs, read alike by the command line, YAML files and notebooks.

`TrainSettings` has what every run of the training loop needs; `PretrainSettings` adds the corpus, the masks and the
starting weights of `ernie pretrain`, and finetuning/settings.py the examples of `ernie finetune`. Names and meanings
are those of PaddleNLP's ernie-1.0 scripts.
"""

from dataclasses import dataclass, fields
from typing import Any, TypeVar

from ernie_from_scratch.config import CONFIG_CLASSES, UserError
from ernie_from_scratch.parallel.degrees import check_layout
from ernie_from_scratch.utils.settings import REQUIRED, Settings, option, option_of

T = TypeVar("T", bound="TrainSettings")


@dataclass
class TrainSettings(Settings):
    """Settings that all training runs share; `check()` raises UserError before anything is built."""

    output_dir: str = option(
        REQUIRED,
        "run folder; the same command continues a run that was stopped",
        path=True,
        resumable=True,
    )
    model_name_or_path: str | None = option(None, "folder or name with the starting weights", path=True)
    max_seq_len: int = option(512, "longest row in tokens, [CLS] and [SEP] included", minimum=1)

    micro_batch_size: int = option(8, "rows of one forward pass", aliases=("micro_bsz",), minimum=1)
    global_batch_size: int | None = option(
        None,
        "rows of one optimizer step = micro_batch_size x dp_degree x sharding_degree x accumulation; default: "
        "no accumulation",
        aliases=("global_bsz",),
    )
    dp_degree: int | None = option(
        None,
        "data parallel processes: each reads its own rows; default: as many as there are",
        aliases=("num_dp",),
        minimum=1,
        resumable=True,
    )
    sharding_degree: int = option(
        1,
        "data parallel processes that also shard the optimizer state",
        aliases=("num_sharding",),
        minimum=1,
        resumable=True,
    )
    mp_degree: int = option(
        1,
        "tensor parallel processes: each holds a part of every layer's weights",
        aliases=("num_mp",),
        minimum=1,
        resumable=True,
    )
    pp_degree: int = option(
        1,
        "pipeline parallel processes: each holds some of the layers",
        aliases=("num_pp",),
        minimum=1,
        resumable=True,
    )
    virtual_pp_degree: int = option(
        1,
        "chunks of layers on each of 3 or more pp_degree processes: an interleaved, shorter pipeline bubble",
        minimum=1,
        resumable=True,
    )
    sharding_stage: int = option(
        1,
        "what sharding_degree shards: 1 optimizer state, 2 gradients too (on a GPU), 3 encoder layers too",
        choices=(1, 2, 3),
        resumable=True,
    )
    offload: bool = option(
        False, "keep the sharded optimizer state in the machine's memory (on a GPU)", resumable=True
    )
    use_sharding: bool | None = option(
        None, "false refuses a sharding_degree above 1; default: what the degree says", resumable=True
    )
    share_folder: bool = option(
        False, "several machines see the same folders: only one of them writes the run folder", resumable=True
    )

    max_steps: int = option(
        500_000, "optimizer steps of the whole run", aliases=("num_train_steps",), minimum=1
    )
    max_lr: float = option(1e-4, "highest learning rate", aliases=("learning_rate",))
    min_lr: float = option(1e-5, "learning rate at decay_steps and after")
    warmup_rate: float = option(0.01, "share of max_steps spent warming up", minimum=0, below=1)
    decay_steps: int | None = option(None, "step at which min_lr is reached; default: max_steps")
    lr_decay_style: str = option("linear", "shape of the decay", choices=("linear", "cosine"))
    weight_decay: float = option(0.01, "AdamW weight decay (not on biases and norms)")
    grad_clip: float = option(1.0, "largest global gradient norm; 0 turns clipping off")
    adam_beta2: float = option(0.999, "decay of AdamW's second moment")

    use_amp: bool = option(False, "compute in half precision where it is safe (on a GPU)")
    fp16_opt_level: str = option(
        "O2",
        "O1: weights stay float32; O2: half-precision weights beside float32 master weights",
        choices=("O1", "O2"),
    )
    amp_dtype: str = option(
        "float16", "number type of --use_amp; float16 needs loss scaling", choices=("float16", "bfloat16")
    )
    scale_loss: float = option(32768.0, "first loss scale under float16; it adapts itself")
    max_bad_steps: int = option(
        10,
        "under loss scaling, steps in a row with a loss or gradient that is not finite before the run stops",
        minimum=1,
        resumable=True,
    )
    use_recompute: bool = option(
        False,
        "drop activations and compute them again in backward: less memory, more time",
        resumable=True,
    )
    pack_rows: bool = option(
        False, "put short rows together instead of computing their padding: faster on a CPU, same losses"
    )
    to_static: bool = option(False, "train on Paddle's static graph of the network")

    checkpoint_steps: int = option(
        500, "steps between checkpoints that a resume uses", minimum=1, resumable=True
    )
    save_steps: int = option(
        5000, "steps between checkpoints that are kept for good", minimum=1, resumable=True
    )
    keep: int = option(2, "newest checkpoints kept beside those of save_steps", minimum=1, resumable=True)
    logging_freq: int = option(
        20, "steps between log lines", aliases=("log_steps",), minimum=1, resumable=True
    )
    eval_freq: int = option(
        500,
        "steps between evaluations on valid and test; one more at the end; 0 turns them off",
        resumable=True,
    )

    num_workers: int = option(2, "threads that prepare batches ahead", resumable=True)
    device: str | None = option(None, "cpu, gpu or gpu:N; default: a GPU when there is one", resumable=True)
    seed: int = option(1234, "seed of weights, sample order, masks and dropout")

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
class PretrainSettings(TrainSettings):
    """Settings of one pretraining run."""

    input_dir: str = option(
        REQUIRED,
        "prefix of a prepared corpus, a folder of them, or 'weight prefix weight prefix'",
        path=True,
    )
    model_type: str = option("ernie", f"family of the network: {', '.join(CONFIG_CLASSES)}")
    continue_training: bool | None = option(
        None, "false: take only the configuration of --model_name_or_path, and start from random weights"
    )
    config_name: str | None = option(None, "preset to start from random weights, such as tiny")
    ernie_config_file: str | None = option(None, "config.json to start from random weights", path=True)
    tokenizer_name_or_path: str | None = option(
        None, "vocab.txt, folder or name; default: the corpus's own vocabulary", path=True
    )
    split: str = option("949,50,1", "shares of documents for train, valid and test")
    masking: str = option(
        "word", "unit that is masked whole", choices=("char", "word", "phrase", "entity", "knowledge")
    )
    masked_lm_prob: float = option(0.15, "share of tokens that are masked")
    mask_schedule: str | None = option(
        None,
        "with --masking knowledge: 'stages' (char, phrase, entity for a third of the run each), shares as in "
        "'char 1, entity 2', or those from a step on as in '0: char; 5000: phrase 1, entity 1'; default: equal "
        "shares of char, phrase and entity",
    )
    max_ngrams: int = option(3, "longest run of units masked together")
    favor_longer_ngram: bool = option(False, "longer runs are the likelier ones")
    replace_per: str = option(
        "token", "what [MASK], unchanged or random is decided for", choices=("token", "unit")
    )
    sentence_pairs: str = option(
        "sop", "second objective: order, adjacency, or none", choices=("sop", "nsp", "none")
    )
    use_sop: bool | None = option(None, "false: --sentence_pairs none; true: sop", aliases=("binary_head",))
    short_seq_prob: float = option(0.1, "share of samples with a random shorter length")
    max_sentences: int = option(0, "most sentences in a sample; 0: as many as fit")
    eval_iters: int = option(10, "micro batches of one evaluation", minimum=1, resumable=True)

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
