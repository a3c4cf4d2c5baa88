"""A prepared corpus of a few hundred generated sentences, and settings of a run on it that takes seconds."""

from ernie_from_scratch.config import ErnieConfig
from ernie_from_scratch.experiments.demo.settings import DemoSettings
from ernie_from_scratch.experiments.demo.text_stages import write_prepared, write_recipe, write_vocabulary
from ernie_from_scratch.training.settings import PretrainSettings

NETWORK = dict(hidden_size=32, num_attention_heads=2, intermediate_size=64, max_position_embeddings=64)


def make_corpus(folder, sentences=300):
    """Write corpus.jsonl, vocab.txt, config.json and the prepared corpus `facts`; returns the corpus's prefix."""
    write_recipe(DemoSettings(facts=60, sentences=sentences), folder / "corpus.jsonl")
    size = write_vocabulary(folder / "corpus.jsonl", folder / "vocab.txt")["size"]
    write_prepared(folder / "corpus.jsonl", folder / "facts", folder / "vocab.txt", segmenter="none")
    ErnieConfig.preset("tiny", vocab_size=size, **NETWORK).save(folder)
    return folder / "facts"


def run_settings(prefix, output, **changes):
    """A run of 12 steps with dropout, accumulation, checkpoints every 4 steps and a log row every 2."""
    values = dict(
        input_dir=str(prefix),
        output_dir=str(output),
        ernie_config_file=str(prefix.parent / "config.json"),
        split="80,10,10",
        max_seq_len=48,
        micro_batch_size=4,
        global_batch_size=8,
        masking="entity",
        max_ngrams=1,
        max_lr=1e-3,
        warmup_rate=0.1,
        max_steps=12,
        checkpoint_steps=4,
        save_steps=100,
        logging_freq=2,
        eval_freq=6,
        eval_iters=2,
    )
    return PretrainSettings(**{**values, **changes})
