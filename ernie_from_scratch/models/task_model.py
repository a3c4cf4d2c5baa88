"""What all networks with a task share: a backbone, a head, and the loss where labels are given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from paddle import Tensor, nn

from ernie_from_scratch.config import EncoderConfig
from ernie_from_scratch.models.outputs import ModelOutput, TaskOutput
from ernie_from_scratch.models.pretrained import Batch, PretrainedModel


class TaskModel(PretrainedModel):
    """`head(run_layers(embed(batch)))`; a subclass builds its head and defines `head` and `loss`.

    Attributes:
        backbone_class: the network without a task.
        task_inputs: names of further arguments of forward that `head` reads.
        output_class: what `head` returns.
        vocabulary_outputs: fields of the output that are logits over the vocabulary, from a decoder that shares its
            weight with the word embeddings.
        lm_head_name: path of the head with that decoder.
        label_names: names of the arguments of forward that `loss` reads; the first one switches the loss on.
    """

    backbone_class: ClassVar[type[PretrainedModel]]
    output_class: ClassVar[type[ModelOutput]] = TaskOutput
    vocabulary_outputs: ClassVar[tuple[str, ...]] = ()
    lm_head_name: ClassVar[str | None] = None
    task_inputs: ClassVar[tuple[str, ...]] = ()
    label_names: ClassVar[tuple[str, ...]] = ("labels",)

    def __init__(self, config: EncoderConfig):
        super().__init__(config)
        setattr(self, self.base_name, self.backbone_class(config))

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool = False,
        **task_arguments: Tensor | None,
    ) -> Any:
        """Takes what the backbone takes, and the `task_inputs` and `label_names` of this class.

        Gives the outputs of `head`; the loss comes first where all labels that it needs are given.
        """
        unknown = set(task_arguments).difference(self.task_inputs, self.label_names)
        if unknown:
            raise TypeError(f"{type(self).__name__}.forward has no argument {', '.join(sorted(unknown))}")
        batch = dict(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            **task_arguments,
        )
        states, _, hidden_states, attentions = self.run_layers(
            self.embed(batch),
            batch,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        output = self.head(states, batch)
        output = type(output)(
            loss=self.loss(output, batch) if batch.get(self.label_names[0]) is not None else None,
            hidden_states=hidden_states,
            attentions=attentions,
            **output,
        )
        return output if return_dict else output.unwrap()

    @property
    def lm_head(self) -> nn.Layer | None:
        """The head that predicts tokens; None where there is none."""
        part = self
        for name in self.lm_head_name.split(".") if self.lm_head_name else ():
            part = getattr(part, name)
        return part if self.lm_head_name else None

    def embed(self, batch: Batch) -> Tensor:
        return self.backbone.embed(self.backbone_batch(batch))

    def run_layers(
        self, states: Tensor, batch: Batch, layers: Iterable[nn.Layer] | None = None, **options: bool
    ) -> tuple:
        return self.backbone.run_layers(states, self.backbone_batch(batch), layers, **options)

    def backbone_batch(self, batch: Batch) -> Batch:
        """The batch as the backbone takes it."""
        return batch

    def head(self, states: Tensor, batch: Batch) -> ModelOutput:
        raise NotImplementedError

    def loss(self, output: ModelOutput, batch: Batch) -> Tensor | None:
        """The loss of the outputs of `head`, as a 0-d tensor; None where the batch lacks a label that it needs."""
        raise NotImplementedError
