"""How the encoder layers of a network are divided among the stages of a pipeline. Arithmetic only, no Paddle."""

from dataclasses import dataclass

from ernie_from_scratch.config import UserError


@dataclass(frozen=True)
class Chunk:
    """Consecutive layers on one pipeline stage.

    Attributes:
        number: number of chunks that a micro batch passes through before this one.
        layers: indices of its encoder layers.
        first: it starts with the embeddings.
        last: it ends with the pooler and the heads.
    """

    number: int
    layers: range
    first: bool
    last: bool


def stage_chunks(num_layers: int, pp_degree: int, pp_rank: int, virtual_pp_degree: int = 1) -> list[Chunk]:
    """The chunks of stage `pp_rank` (from 0), in the order in which a micro batch passes through them.

    All chunks have the same number of layers; if `num_layers` is not divisible, the first ones have one more. With
    `virtual_pp_degree` above 1 (interleaved pipeline, Narayanan et al. 2021, section 2.2) stage k of p holds the
    chunks k, k + p, k + 2p, ...

    Raises:
        UserError: there are fewer layers than chunks.
    """
    num_chunks = pp_degree * virtual_pp_degree
    if num_layers < num_chunks:
        each = "each stage" if virtual_pp_degree == 1 else f"each of {virtual_pp_degree} chunks a stage"
        raise UserError(
            f"--pp_degree {pp_degree}: {each} needs a layer, and there are {num_layers}; lower it"
        )
    size, remainder = divmod(num_layers, num_chunks)
    chunks = []
    for number in range(pp_rank, num_chunks, pp_degree):
        start = number * size + min(number, remainder)
        layers = range(start, start + size + (number < remainder))
        chunks.append(Chunk(number, layers, number == 0, number == num_chunks - 1))
    return chunks
