"""What `ernie pretrain` can be told: one dataclass, read alike by the command line, YAML files and notebooks.

Names and meanings are those of PaddleNLP's ernie-1.0 scripts.
"""

from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel.degrees import check_layout
from ernie_from_scratch.utils.settings import option

AT_LEAST_ONE = (
    "max_seq_len micro_batch_size max_steps checkpoint_steps save_steps logging_freq keep eval_iters max_bad_steps "
    "dp_degree sharding_degree mp_degree pp_degree virtual_pp_degree"
).split()


@dataclass
class PretrainSettings:
    """Settings of one pretraining run; `check()` raises UserError before anything is built."""

    input_dir: str | None = option(
        None, "prefix of a prepared corpus, a folder of them, or 'weight prefix weight prefix'"
    )
    output_dir: str | None = option(None, "run folder; the same command continues a run that was stopped")
    model_type: str = option("ernie", "family of the network", choices=("ernie",))
    model_name_or_path: str | None = option(None, "folder or name with the starting weights")
    continue_training: bool | None = option(
        None, "false: take only the configuration of --model_name_or_path, and start from random weights"
    )
    config_name: str | None = option(None, "preset to start from random weights, such as tiny")
    ernie_config_file: str | None = option(None, "config.json to start from random weights")
    tokenizer_name_or_path: str | None = option(
        None, "vocab.txt, folder or name; default: the corpus's own vocabulary"
    )
    split: str = option("949,50,1", "shares of documents for train, valid and test")
    max_seq_len: int = option(512, "longest row in tokens, [CLS] and [SEP] included")
    micro_batch_size: int = option(8, "rows of one forward pass", aliases=("micro_bsz",))
    global_batch_size: int | None = option(
        None,
        "rows of one optimizer step = micro_batch_size x dp_degree x sharding_degree x accumulation; default: "
        "no accumulation",
        aliases=("global_bsz",),
    )
    dp_degree: int | None = option(
        None, "processes that share out the rows; default: as many as there are", aliases=("num_dp",)
    )
    sharding_degree: int = option(
        1, "processes that share out rows and optimizer state", aliases=("num_sharding",)
    )
    mp_degree: int = option(1, "processes that share out each layer's weights", aliases=("num_mp",))
    pp_degree: int = option(1, "processes that share out the layers", aliases=("num_pp",))
    virtual_pp_degree: int = option(
        1,
        "chunks of layers on each of 3 or more pp_degree processes: an interleaved, shorter pipeline bubble",
    )
    sharding_stage: int = option(
        1,
        "what sharding_degree shares out: 1 optimizer state, 2 gradients too (on a GPU), 3 encoder layers too",
        choices=(1, 2, 3),
    )
    offload: bool = option(False, "keep the shared out optimizer state in the machine's memory (on a GPU)")
    use_sharding: bool | None = option(
        None, "false refuses a sharding_degree above 1; default: what the degree says"
    )
    share_folder: bool = option(
        False, "several machines see the same folders: only one of them writes the run's folder"
    )
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
    max_lr: float = option(1e-4, "highest learning rate", aliases=("learning_rate",))
    min_lr: float = option(1e-5, "learning rate at decay_steps and after")
    warmup_rate: float = option(0.01, "share of max_steps spent warming up")
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
    use_recompute: bool = option(
        False, "forget activations and compute them again in backward: less memory, more time"
    )
    pack_rows: bool = option(
        False, "put short rows together instead of computing their padding: faster on a CPU, same losses"
    )
    to_static: bool = option(False, "train on Paddle's static graph of the network")
    max_bad_steps: int = option(
        10,
        "under loss scaling, steps in a row with a loss or gradient that is not finite before the run stops",
    )
    max_steps: int = option(500_000, "optimizer steps of the whole run", aliases=("num_train_steps",))
    checkpoint_steps: int = option(500, "steps between checkpoints that a resume uses")
    save_steps: int = option(5000, "steps between checkpoints that are kept for good")
    keep: int = option(2, "newest checkpoints kept beside those of save_steps")
    logging_freq: int = option(20, "steps between log lines", aliases=("log_steps",))
    eval_freq: int = option(
        500, "steps between evaluations on valid and test; one more at the end; 0 turns them off"
    )
    eval_iters: int = option(10, "micro batches of one evaluation")
    num_workers: int = option(2, "threads that prepare batches ahead")
    device: str | None = option(None, "cpu, gpu or gpu:N; default: a GPU when there is one")
    seed: int = option(1234, "seed of weights, sample order, masks and dropout")

    PATHS: ClassVar[list] = (
        "input_dir output_dir model_name_or_path ernie_config_file tokenizer_name_or_path"
    ).split()

    # a resumed run may change these without changing its result
    FREE: ClassVar[list] = (
        "output_dir checkpoint_steps save_steps keep logging_freq eval_freq eval_iters num_workers device "
        "dp_degree sharding_degree mp_degree pp_degree virtual_pp_degree use_sharding sharding_stage offload "
        "share_folder use_recompute max_bad_steps"
    ).split()

    def check(self, processes=None):
        """Fill in what follows from other settings and refuse what can't work in so many `processes`.

        None: in as many as there are.
        """
        for name in ("input_dir", "output_dir"):
            if not getattr(self, name):
                raise UserError(f"--{name} is missing; see `ernie pretrain --help`")
        sources = [n for n in ("model_name_or_path", "config_name", "ernie_config_file") if getattr(self, n)]
        if len(sources) != 1:
            found = " and ".join(f"--{n}" for n in sources) or "none of them"
            raise UserError(
                f"give one of --model_name_or_path, --config_name, --ernie_config_file; found {found}"
            )
        for name in AT_LEAST_ONE:
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"--{name} is {getattr(self, name)}; it must be at least 1")
        if self.continue_training and not self.model_name_or_path:
            raise UserError(
                "--continue_training true: nothing to go on from; give --model_name_or_path, or leave it out"
            )
        self._read_use_sop()
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
        if not 0 <= self.warmup_rate < 1:
            raise UserError(
                f"--warmup_rate is {self.warmup_rate}; it is a share of max_steps, from 0 to below 1"
            )
        return self

    def _read_use_sop(self):
        wanted = {None: self.sentence_pairs, True: "sop", False: "none"}[self.use_sop]
        if self.sentence_pairs not in ("sop", wanted):
            raise UserError(
                f"--use_sop {self.use_sop} and --sentence_pairs {self.sentence_pairs} contradict; keep one"
            )
        self.sentence_pairs = wanted

    @property
    def rows_per_pass(self):
        """Rows of one forward pass over all processes that read different rows."""
        return self.micro_batch_size * (self.dp_degree or 1) * self.sharding_degree

    @property
    def accumulation(self):
        """Micro batches that each process adds up for one optimizer step."""
        return (self.global_batch_size or self.rows_per_pass) // self.rows_per_pass

    @property
    def warmup_steps(self):
        """Optimizer steps of the warm-up."""
        return round(self.warmup_rate * self.max_steps)

    def to_dict(self):
        return asdict(self)

    def shared(self):
        """Flags that must be equal in all processes of a run: all but paths, whose contents are compared instead."""
        return {f"--{f.name}": getattr(self, f.name) for f in fields(self) if f.name not in self.PATHS}

    def differences(self, earlier):
        """Names of settings that decide a run's result and differ from the dict `earlier`."""
        names = [f.name for f in fields(self) if f.name not in self.FREE]
        return [name for name in names if name in earlier and earlier[name] != getattr(self, name)]
