"""The pretraining runs of the demo: their networks and schedules. The runs of the facts demo differ in masking only."""

from pathlib import Path

from ernie_from_scratch.experiments.demo.settings import DemoSettings
from ernie_from_scratch.training.settings import PretrainSettings

# As ERNIE 1.0, which has stages of both, "entity" also masks single characters, in every third row. A network that
# has never seen a partly masked name can fill in a name all at once, but not character by character.
MASKING_SETTINGS = {
    "entity": {"masking": "knowledge", "mask_schedule": "char 1, entity 2"},
    "char": {"masking": "char"},
    "word": {"masking": "word"},
}
FACTS_MASKINGS = ("entity", "char")  # the runs that the facts demo compares
# ERNIE's own post-layer-norm network learns facts in minutes with these; RESULTS.md lists what was tried.
FACTS_NETWORK = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.05)
FACTS_SCHEDULE = dict(
    split="98,1,1",
    max_seq_len=40,  # one sentence, or two short ones: easy to find the sentence that a name belongs to
    short_seq_prob=0.0,
    micro_batch_size=48,
    max_ngrams=1,
    max_lr=2e-3,
    min_lr=0.0,
    warmup_rate=0.05,
    pack_rows=True,  # faster on a CPU
    adam_beta2=0.95,  # 0.999 averages over 1,000 steps, too many for a short run
    checkpoint_steps=200,
    save_steps=1_000_000,
    logging_freq=20,
    eval_freq=0,
)
TEXT_NETWORK = dict(initializer_range=0.05)
TEXT_SCHEDULE = {
    **FACTS_SCHEDULE,
    "max_seq_len": 128,
    "short_seq_prob": 0.1,
    "micro_batch_size": 16,
    "max_lr": 1e-3,
}


def run_folder(demo_folder: Path, masking: str) -> Path:
    """The run folder of the pretraining with this masking."""
    return demo_folder / f"pretrain_{masking}"


def pretraining_settings(
    demo: DemoSettings, corpus_prefix: Path, config_file: Path, masking: str, schedule: dict
) -> PretrainSettings:
    """Settings of one pretraining run.

    Args:
        corpus_prefix: prefix of the prepared corpus.
        config_file: config.json of the network.
        masking: a key of MASKING_SETTINGS.
        schedule: FACTS_SCHEDULE or TEXT_SCHEDULE.
    """
    assert demo.steps is not None  # `check` fills it in
    return PretrainSettings(
        input_dir=str(corpus_prefix),
        output_dir=str(run_folder(Path(demo.output_dir), masking)),
        ernie_config_file=str(config_file),
        **MASKING_SETTINGS[masking],
        max_steps=demo.steps,
        seed=demo.seed,
        **schedule,
    )
