"""Names of the same tensor in other toolkits: Hugging Face's models, and Paddle's static graphs.

Linear weights are [in, out] in Paddle and [out, in] in torch; embeddings and the decoder are the same in both.
`base_name` is the attribute that holds the network without its heads ("ernie"); tensor names start with it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ernie_from_scratch.config import UserError

OLD_PADDLENLP = {"cls.predictions.decoder_weight": "cls.predictions.decoder.weight"}

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


# --- Hugging Face ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class HuggingFaceNames:
    """How Hugging Face names the layers of a model family: our name -> its name, {n} is a layer's number."""

    linears: dict[str, str]  # layers whose weight is transposed
    norms: dict[str, str]  # layers that are copied
    marker: str  # a part of a name that only Hugging Face's state dicts have


BERT_NAMES = HuggingFaceNames(
    linears={
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
    },
    norms={
        "embeddings.layer_norm": "embeddings.LayerNorm",
        "encoder.layers.{n}.norm1": "encoder.layer.{n}.attention.output.LayerNorm",
        "encoder.layers.{n}.norm2": "encoder.layer.{n}.output.LayerNorm",
        "cls.predictions.layer_norm": "cls.predictions.transform.LayerNorm",
    },
    marker="encoder.layer.0.",
)
HUGGINGFACE_NAMES = {"ernie": BERT_NAMES}  # by base_name; a family that is not listed is named like BERT


def is_huggingface(names: Iterable[str], base_name: str) -> bool:
    """Whether the names of a state dict are Hugging Face's."""
    marker = HUGGINGFACE_NAMES.get(base_name, BERT_NAMES).marker
    return any(marker in name for name in names)


def huggingface_class(name: str) -> str:
    """Hugging Face's name of a class: it writes PreTraining with a capital T."""
    return name.replace("ForPretraining", "ForPreTraining")


def from_huggingface(tensors: dict[str, np.ndarray], base_name: str) -> dict[str, np.ndarray]:
    """Hugging Face's state dict with our names and axes."""
    table = HUGGINGFACE_NAMES.get(base_name, BERT_NAMES)
    constants = ("position_ids", "token_type_ids")  # buffers that older versions saved
    tensors = {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): value
        for name, value in tensors.items()
        if not name.endswith(constants)
    }
    linears = {theirs: ours for ours, theirs in table.linears.items()} | {"qa_outputs": "classifier"}
    norms = {theirs: ours for ours, theirs in table.norms.items()}
    result = _rename_layers(tensors, linears | norms, linears, base_name)
    if "cls.predictions.bias" in result:
        result["cls.predictions.decoder_bias"] = result.pop("cls.predictions.bias")
    return result


def to_huggingface(
    tensors: dict[str, np.ndarray], base_name: str, question_answering: bool = False
) -> dict[str, np.ndarray]:
    """Our state dict with Hugging Face's names and axes; tied tensors appear once."""
    table = HUGGINGFACE_NAMES.get(base_name, BERT_NAMES)
    tied = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
    tensors = {name: value for name, value in tensors.items() if name not in tied}
    linears = table.linears | ({"classifier": "qa_outputs"} if question_answering else {})
    result = _rename_layers(tensors, linears | table.norms, linears, base_name)
    if "cls.predictions.decoder_bias" in result:
        result["cls.predictions.bias"] = result.pop("cls.predictions.decoder_bias")
    return result


def _rename_layers(
    tensors: dict[str, np.ndarray], new_names: dict[str, str], transposed: Iterable[str], base_name: str
) -> dict[str, np.ndarray]:
    """Renames the layers in `new_names`, transposes the weights of those in `transposed`, copies the rest."""
    result = {}
    for name, value in tensors.items():
        prefix = f"{base_name}." if name.startswith(f"{base_name}.") else ""
        layer, _, parameter = name.removeprefix(prefix).rpartition(".")
        number = re.search(r"\.(\d+)\.", f"{layer}.")
        pattern = layer.replace(f".{number[1]}.", ".{n}.", 1) if number else layer
        if pattern in new_names:
            name = prefix + new_names[pattern].format(n=number and number[1]) + f".{parameter}"
        result[name] = value.T if pattern in transposed and parameter == "weight" else value
    return result


# --- Static graphs --------------------------------------------------------------------------------

# Class of a layer with parameters -> how a static graph names such layers.
STATIC_TYPES = {"Embedding": "embedding", "Linear": "linear", "LayerNorm": "layer_norm"}
TIED_DECODER = "TiedDecoder"  # counted as a linear layer without a weight of its own
STATIC_NAME = re.compile(r"(\w+?)_(\d+)\.([wb])_0")  # linear_3.b_0, not an optimizer's linear_3.b_0_moment1_0


def is_static(names: Iterable[str]) -> bool:
    """Whether these are names of variables of a static graph."""
    return any(STATIC_NAME.fullmatch(name) for name in names)


def static_names(network: Any) -> dict[str, str]:
    """Our names -> the names in a static graph that holds only this network, as PaddleNLP's classes build it.

    There a parameter is named after the type of its layer and the number of layers of that type built before it.
    The weight of the decoder is that of the first embedding.
    """
    built = dict.fromkeys(STATIC_TYPES.values(), 0)
    names = {}
    for path, layer in network.named_sublayers():
        static_type = STATIC_TYPES.get(type(layer).__name__)
        if static_type:
            names[f"{path}.weight"] = f"{static_type}_{built[static_type]}.w_0"
            if static_type != "embedding":
                names[f"{path}.bias"] = f"{static_type}_{built[static_type]}.b_0"
        elif type(layer).__name__ == TIED_DECODER:
            static_type = "linear"
            names[f"{path}.bias"] = f"linear_{built[static_type]}.b_0"
        if static_type:
            built[static_type] += 1
    return names


def from_static(tensors: dict[str, np.ndarray], network: Any) -> dict[str, np.ndarray]:
    """Variables of a static graph with our names, without optimizer states and the like.

    Layers are matched by their order, since the graph may have other layers before them; the decoder's bias is the
    one without a weight.

    Raises:
        UserError: the numbers of layers differ.
    """
    layers, biases = _static_layers(tensors)
    result, used = {}, dict.fromkeys(layers, 0)
    for path, layer in network.named_sublayers():
        static_type = STATIC_TYPES.get(type(layer).__name__)
        if static_type:
            number = used[static_type]
            if number == len(layers[static_type]):
                raise UserError(
                    f"too few {static_type} layers: {number}; give the configuration of these weights"
                )
            result[f"{path}.weight"] = tensors[f"{layers[static_type][number]}.w_0"]
            if static_type != "embedding":
                result[f"{path}.bias"] = tensors[f"{layers[static_type][number]}.b_0"]
            used[static_type] += 1
        elif type(layer).__name__ == TIED_DECODER and biases:
            result[f"{path}.bias"] = tensors[biases[0]]
    for static_type, names in layers.items():
        if used[static_type] < len(names):
            raise UserError(
                f"too many {static_type} layers: {len(names)}; give the configuration of these weights"
            )
    return result


def head_of_static(tensors: dict[str, np.ndarray], num_hidden_layers: int) -> str | None:
    """The head whose variables these are (None: no head), by the linear layers besides those of the encoder (6 in
    each layer) and the pooler.

    Raises:
        UserError: no known head has that many.
    """
    layers, biases = _static_layers(tensors)
    count = len(layers["linear"]) - 6 * num_hidden_layers - 1
    known = {
        (0, False): None,
        (1, True): "masked-lm",
        (2, True): "pretraining",
        (1, False): "sequence-classification",
    }
    if (count, bool(biases)) not in known:
        raise UserError(
            f"unknown heads: {count} linear layers after the pooler; give the configuration of these weights"
        )
    return known[count, bool(biases)]


def _static_layers(tensors: dict[str, np.ndarray]) -> tuple[dict[str, list[str]], list[str]]:
    """For each type the layers with a weight ("linear_3"), in order; and the biases without a weight."""
    layers: dict[str, list[str]] = {static_type: [] for static_type in STATIC_TYPES.values()}
    biases = []
    for name in sorted(tensors, key=lambda name: [int(part) for part in re.findall(r"\d+", name)]):
        match = STATIC_NAME.fullmatch(name)
        if match and match[3] == "w" and match[1] in layers:
            layers[match[1]].append(name.removesuffix(".w_0"))
        elif match and match[3] == "b" and f"{match[1]}_{match[2]}.w_0" not in tensors:
            biases.append(name)
    return layers, biases
