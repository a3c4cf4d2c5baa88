"""Random networks and inputs for the tests of models/, and PaddleNLP's networks with the same weights."""

import numpy as np
import paddle
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import ernie_from_scratch as efs
from ernie_from_scratch.config import ErnieConfig

EVERY_CASE = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
CLASSES = [
    efs.ErnieModel,
    efs.ErnieForPretraining,
    efs.ErnieForMaskedLM,
    efs.ErnieForSequenceClassification,
    efs.ErnieForTokenClassification,
    efs.ErnieForQuestionAnswering,
    efs.ErnieForMultipleChoice,
]
SIZES = {
    "vocab_size": 40, "hidden_size": 12, "num_attention_heads": 3, "intermediate_size": 20, "num_labels": 3,
    "max_position_embeddings": 20, "use_task_id": True, **NO_DROPOUT,
}  # fmt: skip


@st.composite
def configs(draw, **fixed):
    heads, head_dim = (
        draw(st.integers(1, 4)),
        draw(st.integers(4, 12)),
    )  # LayerNorm of 1 or 2 numbers is all noise
    values = {
        "vocab_size": draw(st.integers(12, 60)),
        "hidden_size": heads * head_dim,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "intermediate_size": draw(st.integers(1, 40)),
        "hidden_act": draw(st.sampled_from(["gelu", "relu"])),
        "max_position_embeddings": draw(st.integers(24, 40)),
        "type_vocab_size": draw(st.integers(0, 4)),
        "use_task_id": draw(st.booleans()),
        "task_type_vocab_size": 3,
        "task_id": draw(st.integers(0, 2)),
        "pad_token_id": draw(st.sampled_from([0, 1, 7])),
        "num_labels": draw(st.integers(2, 5)),
    }
    return ErnieConfig(**{**values, **fixed})


def ids(rng, config, *shape, padded=False):
    """Random ids; when `padded`, the rows end in padding (after one token at least)."""
    numbers = rng.integers(0, config.vocab_size - 1, shape)
    numbers += numbers >= config.pad_token_id
    if padded:
        lengths = rng.integers(1, shape[-1] + 1, shape[:-1])
        numbers[np.arange(shape[-1]) >= lengths[..., None]] = config.pad_token_id
    return paddle.to_tensor(numbers)


def randomize(model, rng):
    """Large normal numbers: attention is uneven, and each bias matters."""
    for parameter in model.parameters():
        parameter.set_value(rng.normal(0, 0.4, parameter.shape).astype("float32"))


def build(cls, **overrides):
    """One of CLASSES with SIZES and random weights, the same each time."""
    model = cls(ErnieConfig.preset("tiny", **{**SIZES, **overrides}))
    randomize(model, np.random.default_rng(4))
    model.eval()
    return model


def outputs(model):
    """The outputs of a model of `build` for two random rows, the same each time."""
    shape = (2, 2, 6) if type(model).__name__ == "ErnieForMultipleChoice" else (2, 6)
    model.eval()
    return model(ids(np.random.default_rng(1), model.config, *shape))


def paddlenlp_twin(model, rng):
    """PaddleNLP's class of the same name and configuration; both get the same random weights."""
    import paddlenlp.transformers as nlp

    values = {key: value for key, value in model.config.to_dict().items() if key != "id2label"}
    values["dropout"] = values.pop("classifier_dropout")
    twin = getattr(nlp, type(model).__name__)(nlp.ErnieConfig(**values))
    randomize(model, rng)
    ours, theirs = model.state_dict(), twin.state_dict()
    assert set(ours) == set(theirs), "state-dict keys are PaddleNLP's"
    missing, unexpected = twin.set_state_dict({key: value.numpy() for key, value in ours.items()})
    assert not missing and not unexpected
    return twin


def tensors(output):
    """All tensors in nested tuples, in order."""
    if isinstance(output, paddle.Tensor):
        return [output]
    return [tensor for part in output for tensor in tensors(part)]


def largest_difference(ours, theirs):
    ours, theirs = tensors(ours), tensors(theirs)
    assert [t.shape for t in ours] == [t.shape for t in theirs]
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
