"""Stage "fine-tune": sentiment of reviews, from the pretrained weights and from random ones, over several seeds."""

from statistics import mean, stdev

from ernie_from_scratch.finetuning.finetune import finetune
from ernie_from_scratch.text.recipe.facts import DATA_FOLDER

SEEDS = (1, 2, 3)
FINETUNING = dict(num_train_epochs=5, learning_rate=3e-4, batch_size=32, max_seq_len=96)


def finetune_both(pretrained, folder, progress=None):
    """Fine-tune `pretrained`, and the same network from random weights.

    Returns:
        JSON-able dict: `scores` (start -> test accuracy per seed), `model` (folder of
        the first pretrained one).
    """
    files = {
        name: str(DATA_FOLDER / "tasks" / "sentiment" / f"{name}.tsv") for name in ("train", "dev", "test")
    }
    scores = {"pretrained": [], "random": []}
    for start, found in scores.items():
        for seed in SEEDS:
            result = finetune(
                model_name_or_path=str(pretrained),
                from_scratch=start == "random",
                output_dir=str(folder / f"{start}_seed{seed}"),
                seed=seed,
                quiet=True,
                **files,
                **FINETUNING,
            )
            found.append(result["test"]["accuracy"])
            if progress:
                progress(f"{start} weights, seed {seed}: {100 * found[-1]:.1f} % of the test reviews right")
    said = "; ".join(
        f"{start} {100 * mean(found):.1f} ± {100 * stdev(found):.1f} %" for start, found in scores.items()
    )
    return {"scores": scores, "model": str(folder / "pretrained_seed1"), "said": said}
