"""ERNIE from scratch: build, pretrain, fine-tune and serve ERNIE with PaddlePaddle.

`import ernie_from_scratch as efs` applies the process settings (process_setup.py) before Paddle is imported,
and imports nothing heavy itself: each name below is loaded when it is first used.
"""

import importlib

from ernie_from_scratch import process_setup

__version__ = "0.2.0"

_EXPORTS = {
    "config": ("UserError", "ErnieConfig"),
    "models": (
        "ErnieEmbeddings",
        "MultiHeadAttention",
        "ErnieEncoderLayer",
        "ErnieEncoder",
        "ErniePooler",
        "ErnieModel",
        "ErnieLMPredictionHead",
        "ErniePretrainingHeads",
        "ErnieForPretraining",
        "ErnieForMaskedLM",
        "ErnieForSequenceClassification",
        "ErnieForTokenClassification",
        "ErnieForQuestionAnswering",
        "ErnieForMultipleChoice",
    ),
    "text.tokenizers.vocabulary": ("Vocabulary", "build_vocabulary"),
    "text.tokenizers.wordpiece": ("ErnieTokenizer",),
    "dataset.pretraining_data": ("PretrainingData",),
    "deployment.pipelines": ("pipeline",),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _EXPORTS.items() for name in names}
__all__ = ["__version__", "process_setup", *_HOME]

process_setup.apply()


def __getattr__(name: str):
    """Loads an exported name at its first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))
