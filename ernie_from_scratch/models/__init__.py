"""ERNIE, built bottom-up. Read in this order: embeddings, attention, encoder, pooler, outputs, ernie, heads,
pretraining, tasks; then initialization, layers (what makes it fast on a CPU), pretrained, weights."""

from ernie_from_scratch.models.attention import MultiHeadAttention
from ernie_from_scratch.models.embeddings import ErnieEmbeddings
from ernie_from_scratch.models.encoder import ErnieEncoder, ErnieEncoderLayer
from ernie_from_scratch.models.ernie import ErnieModel
from ernie_from_scratch.models.heads import ErnieLMPredictionHead, ErniePretrainingHeads
from ernie_from_scratch.models.pooler import ErniePooler
from ernie_from_scratch.models.pretraining import ErnieForMaskedLM, ErnieForPretraining
from ernie_from_scratch.models.tasks import (
    ErnieForMultipleChoice,
    ErnieForQuestionAnswering,
    ErnieForSequenceClassification,
    ErnieForTokenClassification,
)

__all__ = [
    "ErnieEmbeddings",
    "ErnieEncoder",
    "ErnieEncoderLayer",
    "ErnieForMaskedLM",
    "ErnieForMultipleChoice",
    "ErnieForPretraining",
    "ErnieForQuestionAnswering",
    "ErnieForSequenceClassification",
    "ErnieForTokenClassification",
    "ErnieLMPredictionHead",
    "ErnieModel",
    "ErniePooler",
    "ErniePretrainingHeads",
    "MultiHeadAttention",
]
