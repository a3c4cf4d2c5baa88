"""Settings of `ernie finetune`; the aliases are the names of PaddleNLP's fine-tuning scripts."""

from dataclasses import dataclass

from ernie_from_scratch.training.settings import TrainSettings
from ernie_from_scratch.utils.settings import REQUIRED, inherit, option


@dataclass
class FinetuneSettings(TrainSettings):
    """Settings of one fine-tuning run; `check()` raises UserError before anything is built."""

    task: str = option(
        "seq_cls", "what the model learns: a label for a text or a pair of texts", choices=("seq_cls",)
    )
    model_name_or_path: str = inherit(default=REQUIRED, help="folder with the pretrained model")
    from_scratch: bool = option(
        False, "take the folder's config and vocabulary, but random weights (for comparison)"
    )
    train: str = option(
        REQUIRED,
        "training set, a .tsv with the header label<TAB>text_a[<TAB>text_b]",
        aliases=("train_file",),
        path=True,
    )
    dev: str = option(
        REQUIRED, "development set: the epoch that is best on it is kept", aliases=("dev_file",), path=True
    )
    test: str | None = option(
        None, "test set, scored once at the end", aliases=("test_file",), path=True, resumable=True
    )
    output_dir: str = inherit(help="model folder to write; the same command continues a run that was stopped")
    num_train_epochs: int = option(3, "passes over the training set", aliases=("epochs",), minimum=1)

    max_seq_len: int = inherit(default=128, aliases=("max_seq_length",), minimum=4)
    micro_batch_size: int = inherit(default=32, aliases=("batch_size", "per_device_train_batch_size"))
    max_steps: int | None = inherit(
        default=None, help="optimizer steps of the whole run; default: those of num_train_epochs"
    )
    max_lr: float = inherit(default=5e-5, above=0)
    min_lr: float = inherit(default=0.0)
    warmup_rate: float = inherit(default=0.1, aliases=("warmup_ratio", "warmup_proportion"))
    lr_decay_style: str = inherit(aliases=("lr_scheduler_type",))
    grad_clip: float = inherit(aliases=("max_grad_norm",))
    eval_freq: int = inherit(
        default=0,
        help="steps between evaluations on the development set besides those at epoch ends; 0: only those",
    )
    logging_freq: int = inherit(default=10, aliases=("logging_steps",))
    seed: int = inherit(default=42, help="seed of new weights, order of the examples and dropout")
