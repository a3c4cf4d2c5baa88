"""Settings of the samples that a network is pretrained on: their splits, masks and sentence pairs."""

from dataclasses import dataclass
from functools import partial

from ernie_from_scratch.utils.settings import Settings, option

SPLITS = ("train", "valid", "test")
LEVELS = ("char", "word", "phrase", "entity")  # units of masking, smallest first
MASKING = (*LEVELS, "knowledge")
REPLACE_PER = ("token", "unit")
SENTENCE_PAIRS = ("sop", "nsp", "none")
MAX_SEQ_LEN = 1 << 15

sampling = partial(option, group="data")
masks = partial(option, group="masking")


@dataclass
class DataSettings(Settings):
    """What is drawn from a prepared corpus; also the defaults of `PretrainingData`."""

    split: str = sampling("949,50,1", f"shares of documents for {', '.join(SPLITS)}")
    sentence_pairs: str = sampling(
        "sop", "second objective: order, adjacency, or none", choices=SENTENCE_PAIRS
    )
    short_seq_prob: float = sampling(
        0.1, "share of samples with a random shorter length", minimum=0, maximum=1
    )
    max_sentences: int = sampling(
        0, "most sentences in a sample; 0: as many as fit", minimum=0, maximum=MAX_SEQ_LEN
    )
    masking: str = masks("word", "unit that is masked as a whole", choices=MASKING)
    masked_lm_prob: float = masks(0.15, "share of tokens that are masked", above=0, maximum=1)
    mask_schedule: str | None = masks(
        None,
        "with --masking knowledge: 'stages' (char, phrase, entity for a third of the run each), shares as in "
        "'char 1, entity 2', or those from a step on as in '0: char; 5000: phrase 1, entity 1'; default: equal "
        "shares of char, phrase and entity",
    )
    max_ngrams: int = masks(3, "longest run of units masked together", minimum=1, maximum=64)
    favor_longer_ngram: bool = masks(False, "longer runs are the likelier ones")
    replace_per: str = masks("token", "what [MASK], unchanged or random is decided for", choices=REPLACE_PER)
    max_seq_len: int = sampling(
        512, "longest row in tokens, [CLS] and [SEP] included", minimum=5, maximum=MAX_SEQ_LEN
    )
    seed: int = sampling(1234, "seed of sample order and masks")
