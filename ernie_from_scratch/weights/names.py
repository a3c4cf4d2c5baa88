"""What the same tensor is called elsewhere: in Hugging Face's ERNIE, and in Paddle's static graphs.

Linear weights are [in, out] in Paddle and [out, in] in torch; embeddings and the decoder are alike in both.
"""

import re
from collections.abc import Iterable

import numpy as np

from ernie_from_scratch.config import UserError

# Ours and Hugging Face's names of layers; {n} is a layer's number.
LINEARS = {
    "encoder.layers.{n}.self_attn.q_proj": "encoder.layer.{n}.attention.self.query",
    "encoder.layers.{n}.self_attn.k_proj": "encoder.layer.{n}.attention.self.key",
    "encoder.layers.{n}.self_attn.v_proj": "encoder.layer.{n}.attention.self.value",
    "encoder.layers.{n}.self_attn.out_proj": "encoder.layer.{n}.attention.output.dense",
    "encoder.layers.{n}.linear1": "encoder.layer.{n}.intermediate.dense",
    "encoder.layers.{n}.linear2": "encoder.layer.{n}.output.dense",
    "pooler.dense": "pooler.dense",
    "cls.predictions.transform": "cls.predictions.transform.dense",
    "cls.seq_relationship": "cls.seq_relationship",
    "classifier": "classifier",
}
NORMS = {
    "embeddings.layer_norm": "embeddings.LayerNorm",
    "encoder.layers.{n}.norm1": "encoder.layer.{n}.attention.output.LayerNorm",
    "encoder.layers.{n}.norm2": "encoder.layer.{n}.output.LayerNorm",
    "cls.predictions.layer_norm": "cls.predictions.transform.LayerNorm",
}
OLD_PADDLENLP = {"cls.predictions.decoder_weight": "cls.predictions.decoder.weight"}


def translate(tensors: dict[str, np.ndarray], places: dict[str, str], linears) -> dict[str, np.ndarray]:
    """Renames the layers in `places`, swaps the axes of weights in `linears`, leaves the rest alone."""
    result = {}
    for name, value in tensors.items():
        prefix = "ernie." if name.startswith("ernie.") else ""
        place, _, kind = name.removeprefix(prefix).rpartition(".")
        number = re.search(r"\.(\d+)\.", f"{place}.")
        pattern = place.replace(f".{number[1]}.", ".{n}.", 1) if number else place
        if pattern in places:
            name = prefix + places[pattern].format(n=number and number[1]) + f".{kind}"
        result[name] = value.T if pattern in linears and kind == "weight" else value
    return result


def is_huggingface(names) -> bool:
    return any("encoder.layer.0." in name for name in names)


def from_huggingface(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hugging Face's state dict with our names and axes."""
    counters = ("position_ids", "token_type_ids")  # constants that older versions stored
    tensors = {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): value
        for name, value in tensors.items()
        if not name.endswith(counters)
    }
    linears = {theirs: ours for ours, theirs in LINEARS.items()} | {"qa_outputs": "classifier"}
    norms = {theirs: ours for ours, theirs in NORMS.items()}
    result = translate(tensors, linears | norms, linears)
    if "cls.predictions.bias" in result:
        result["cls.predictions.decoder_bias"] = result.pop("cls.predictions.bias")
    return result


def to_huggingface(tensors: dict[str, np.ndarray], question_answering: bool = False) -> dict[str, np.ndarray]:
    """Our state dict with Hugging Face's names and axes; what is tied appears once."""
    tied = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
    tensors = {name: value for name, value in tensors.items() if name not in tied}
    linears = LINEARS | ({"classifier": "qa_outputs"} if question_answering else {})
    result = translate(tensors, linears | NORMS, linears)
    if "cls.predictions.decoder_bias" in result:
        result["cls.predictions.bias"] = result.pop("cls.predictions.decoder_bias")
    return result


# The tensors of a head, by the start of their names; the first match tells which head a network has.
HEAD_PREFIXES = {
    "cls.seq_relationship": "pretraining",
    "cls.predictions": "masked-lm",
    "qa_outputs": "question-answering",  # Hugging Face's name
    "classifier": "sequence-classification",
}


def head_of_weights(names: Iterable[str]) -> str | None:
    """The head (a key of `ModelFamily.heads`) that these tensors belong to; None for a network without a head.

    A classifier is taken for one of sequences, since all classifiers have the same names.
    """
    names = list(names)
    for prefix, head in HEAD_PREFIXES.items():
        if any(name.startswith(prefix) for name in names):
            return head
    return None


# Layers with parameters, and what a static graph calls them.
KINDS = {"Embedding": "embedding", "Linear": "linear", "LayerNorm": "layer_norm"}
VARIABLE = re.compile(
    r"(\w+?)_(\d+)\.([wb])_0"
)  # linear_3.b_0, but not an optimizer's linear_3.b_0_moment1_0


def is_static(names) -> bool:
    return any(VARIABLE.fullmatch(name) for name in names)


def static_names(model) -> dict[str, str]:
    """Our names -> the names in a static graph that holds only this model, as PaddleNLP's classes build it.

    There a parameter is called after its kind of layer and how many of that kind were built before it. The
    decoder counts as a linear layer; its weight is that of the first embedding.
    """
    built = dict.fromkeys(KINDS.values(), 0)
    names = {}
    for path, layer in model.named_sublayers():
        kind = KINDS.get(type(layer).__name__)
        if kind:
            names[f"{path}.weight"] = f"{kind}_{built[kind]}.w_0"
            if kind != "embedding":
                names[f"{path}.bias"] = f"{kind}_{built[kind]}.b_0"
        elif type(layer).__name__ == "TiedDecoder":
            kind = "linear"
            names[f"{path}.bias"] = f"linear_{built[kind]}.b_0"
        if kind:
            built[kind] += 1
    return names


def static_layers(tensors: dict[str, np.ndarray]) -> tuple[dict[str, list[str]], list[str]]:
    """For each kind the layers with a weight ("linear_3"), in order; and biases without a weight."""
    layers, biases = {kind: [] for kind in KINDS.values()}, []
    for name in sorted(tensors, key=lambda name: [int(part) for part in re.findall(r"\d+", name)]):
        match = VARIABLE.fullmatch(name)
        if match and match[3] == "w" and match[1] in layers:
            layers[match[1]].append(name.removesuffix(".w_0"))
        elif match and match[3] == "b" and f"{match[1]}_{match[2]}.w_0" not in tensors:
            biases.append(name)
    return layers, biases


def from_static(tensors: dict[str, np.ndarray], model) -> dict[str, np.ndarray]:
    """Variables of a static graph with our names; optimizer states and the like are left aside.

    Layers are matched by their order, since a graph may have built others before; the decoder's bias is the one
    without a weight. Raises UserError when the numbers of layers differ.
    """
    layers, biases = static_layers(tensors)
    result, used = {}, dict.fromkeys(layers, 0)
    for path, layer in model.named_sublayers():
        kind = KINDS.get(type(layer).__name__)
        if kind:
            if used[kind] == len(layers[kind]):
                raise UserError(
                    f"too few {kind} layers: {used[kind]}; give the configuration of these weights"
                )
            result[f"{path}.weight"] = tensors[f"{layers[kind][used[kind]]}.w_0"]
            if kind != "embedding":
                result[f"{path}.bias"] = tensors[f"{layers[kind][used[kind]]}.b_0"]
            used[kind] += 1
        elif type(layer).__name__ == "TiedDecoder" and biases:
            result[f"{path}.bias"] = tensors[biases[0]]
    for kind, names in layers.items():
        if used[kind] < len(names):
            raise UserError(f"too many {kind} layers: {len(names)}; give the configuration of these weights")
    return result


def static_class(tensors: dict[str, np.ndarray], config) -> str:
    """Which model's variables these are, by the linear layers beyond encoder (6 each) and pooler."""
    layers, biases = static_layers(tensors)
    heads = len(layers["linear"]) - 6 * config.num_hidden_layers - 1
    known = {
        (0, False): "ErnieModel",
        (1, True): "ErnieForMaskedLM",
        (2, True): "ErnieForPretraining",
        (1, False): "ErnieForSequenceClassification",
    }
    if (heads, bool(biases)) not in known:
        raise UserError(
            f"unknown heads: {heads} linear layers after the pooler; give the configuration of these weights"
        )
    return known[heads, bool(biases)]
