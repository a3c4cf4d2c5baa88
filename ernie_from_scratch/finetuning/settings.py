"""What `ernie finetune` can be told; names and meanings are those of PaddleNLP's fine-tuning scripts."""

from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.settings import option


@dataclass
class FinetuneSettings:
    """Settings of one fine-tuning run; `check()` raises UserError before anything is built."""

    task: str = option(
        "seq_cls", "what the model learns: a label for a text or a pair of texts", choices=("seq_cls",)
    )
    model_name_or_path: str | None = option(None, "folder with the pretrained model")
    from_scratch: bool = option(
        False, "take the folder's config and vocabulary, but random weights (for comparison)"
    )
    train: str | None = option(
        None, "training set, a .tsv with the header label<TAB>text_a[<TAB>text_b]", aliases=("train_file",)
    )
    dev: str | None = option(
        None, "development set: the epoch that is best on it is kept", aliases=("dev_file",)
    )
    test: str | None = option(None, "test set, scored once at the end", aliases=("test_file",))
    output_dir: str | None = option(
        None, "model folder to write; the same command continues a run that was stopped"
    )
    max_seq_len: int = option(
        128, "longest row in tokens, [CLS] and [SEP] included", aliases=("max_seq_length",)
    )
    batch_size: int = option(32, "rows of one optimizer step", aliases=("per_device_train_batch_size",))
    learning_rate: float = option(5e-5, "highest learning rate")
    num_train_epochs: int = option(3, "passes over the training set", aliases=("epochs",))
    weight_decay: float = option(0.01, "AdamW weight decay (not on biases and norms)")
    warmup_ratio: float = option(0.1, "share of all steps spent warming up", aliases=("warmup_proportion",))
    lr_scheduler_type: str = option("linear", "shape of the decay to 0", choices=("linear", "cosine"))
    max_grad_norm: float = option(1.0, "largest global gradient norm; 0 turns clipping off")
    seed: int = option(42, "seed of new weights, order of the examples and dropout")
    logging_steps: int = option(10, "steps between rows of metrics.jsonl")
    device: str | None = option(None, "cpu or gpu; default: a GPU when there is one")

    FREE: ClassVar[tuple] = ("output_dir", "device", "test")  # may change when a run is continued

    def check(self):
        """Refuse what can't work.

        Raises:
            UserError: a missing flag or a number out of range.
        """
        for name in ("model_name_or_path", "train", "dev", "output_dir"):
            if not getattr(self, name):
                raise UserError(f"--{name} is missing; see `ernie finetune --help`")
        for name, least in (
            ("max_seq_len", 4),
            ("batch_size", 1),
            ("num_train_epochs", 1),
            ("logging_steps", 1),
        ):
            if getattr(self, name) < least:
                raise UserError(f"--{name} is {getattr(self, name)}; it must be at least {least}")
        if not self.learning_rate > 0:
            raise UserError(f"--learning_rate is {self.learning_rate}; it must be above 0")
        if not 0 <= self.warmup_ratio < 1:
            raise UserError(
                f"--warmup_ratio is {self.warmup_ratio}; it is a share of all steps, from 0 to below 1"
            )
        return self

    def to_dict(self):
        return asdict(self)

    def differences(self, earlier):
        """Names of settings that decide a run's result and differ from the dict `earlier`."""
        names = [f.name for f in fields(self) if f.name not in self.FREE]
        return [name for name in names if name in earlier and earlier[name] != getattr(self, name)]
