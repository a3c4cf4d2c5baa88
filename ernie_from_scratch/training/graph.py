"""`--to_static`: the network as Paddle's static graph, with the dynamic network's parameters."""

import paddle
from paddle import nn
from paddle.static import InputSpec


class StaticNetwork(nn.Layer):
    """One graph for all batch shapes; called like `ErnieForPretraining` with the batch's four tensors.

    B batch, L sequence, M masked positions.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, token_type_ids, attention_mask, masked_positions):
        return self.model(
            input_ids,  # [B, L]
            token_type_ids=token_type_ids,  # [B, L]
            attention_mask=attention_mask,  # [B, L]
            masked_positions=masked_positions,  # [M]
        )


def static_network(model):
    """A callable with the signature that `pretraining_losses` uses, backed by one static graph of `model`.

    Dropout draws other masks than on the dynamic graph; everything else is the same to rounding.
    """
    rows, flat = InputSpec([None, None], "int64"), InputSpec([None], "int64")
    graph = paddle.jit.to_static(StaticNetwork(model), input_spec=[rows, rows, rows, flat], full_graph=True)

    def network(input_ids, token_type_ids, attention_mask, masked_positions):
        if attention_mask is None:  # nothing is padded; the graph always adds a mask
            attention_mask = paddle.ones_like(input_ids)
        return graph(input_ids, token_type_ids, attention_mask, masked_positions)

    return network
