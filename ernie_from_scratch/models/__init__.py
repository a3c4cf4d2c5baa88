"""ERNIE, built bottom-up; read in this order: initialization, dropout, embeddings, attention, encoder, pooler, heads,
outputs, ernie, pretraining, tasks, pretrained, weights."""

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
