"""Settings of `ernie finetune` and `ernie evaluate`; the aliases are the names of PaddleNLP's fine-tuning scripts."""

from dataclasses import dataclass
from functools import partial

from ernie_from_scratch.training.settings import TrainSettings
from ernie_from_scratch.utils.settings import REQUIRED, Settings, inherit, option

TASK_NAMES = ("seq_cls",)

data = partial(option, group="task and data", path=True)


@dataclass
class TaskSettings(Settings):
    """What a model learns in fine-tuning."""

    task: str = option(
        "seq_cls",
        "what the model does: gives a label to a text or a pair of texts",
        choices=TASK_NAMES,
        group="task and data",
    )


@dataclass
class FinetuneSettings(TrainSettings, TaskSettings):
    """Settings of one fine-tuning run; `check()` raises UserError before anything is built."""

    train: str = data(
        REQUIRED,
        "training set, a .tsv with the header label<TAB>text_a[<TAB>text_b]",
        aliases=("train_file",),
    )
    dev: str = data(REQUIRED, "development set: the epoch that is best on it is kept", aliases=("dev_file",))
    test: str | None = data(None, "test set, scored once at the end", aliases=("test_file",), resumable=True)
    output_dir: str = inherit(help="model folder to write; the same command continues a run that was stopped")
    seed: int = inherit(default=42, help="seed of new weights, order of the examples and dropout")
    model_name_or_path: str = inherit(default=REQUIRED, help="folder with the pretrained model")
    from_scratch: bool = option(
        False,
        "take the folder's config and vocabulary, but random weights (for comparison)",
        group="model",
    )
    max_seq_len: int = inherit(default=128, aliases=("max_seq_length",), minimum=4)
    micro_batch_size: int = inherit(default=32, aliases=("batch_size", "per_device_train_batch_size"))
    num_train_epochs: int = option(
        3,
        "passes over the training set",
        aliases=("epochs",),
        minimum=1,
        group="steps, schedule and optimizer",
    )
    max_steps: int | None = inherit(
        default=None, help="optimizer steps of the whole run; default: those of num_train_epochs"
    )
    max_lr: float = inherit(default=5e-5, above=0)
    min_lr: float = inherit(default=0.0)
    warmup_rate: float = inherit(default=0.1, aliases=("warmup_ratio", "warmup_proportion"))
    lr_decay_style: str = inherit(aliases=("lr_scheduler_type",))
    grad_clip: float = inherit(aliases=("max_grad_norm",))
    logging_freq: int = inherit(default=10, aliases=("logging_steps",))
    eval_freq: int = inherit(
        default=0,
        help="steps between evaluations on the development set besides those at epoch ends; 0: only those",
    )


@dataclass
class EvaluateSettings(TaskSettings):
    """Settings of `ernie evaluate`; also the defaults of `evaluate`."""

    model: str = option(REQUIRED, "fine-tuned model folder", aliases=("model_name_or_path",), path=True)
    data: str = option(
        REQUIRED,
        "labelled .tsv with the header label<TAB>text_a[<TAB>text_b]",
        aliases=("test",),
        path=True,
    )
    task: str = inherit(group="")
    max_seq_len: int | None = option(
        None, "longest row in tokens; default: as the model allows", aliases=("max_seq_length",)
    )
    batch_size: int = option(64, "rows of one forward pass", aliases=("per_device_eval_batch_size",))
    predictions: str | None = option(
        None, "also write right label, prediction and its probability to this .tsv", path=True
    )
