"""Stage "finetune": sentiment of reviews, from the pretrained weights and from random ones, with several seeds."""

import os
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ernie_from_scratch.finetuning.finetune import finetune
from ernie_from_scratch.text.recipe.facts import DATA_FOLDER

SEEDS = (1, 2, 3)
FINETUNING: dict[str, Any] = dict(num_train_epochs=5, learning_rate=3e-4, batch_size=32, max_seq_len=96)


def compare_starts(
    pretrained: str | os.PathLike, folder: Path, progress: Callable[[str], object] | None = None
) -> dict:
    """Fine-tune the pretrained network, and the same network from random weights.

    Args:
        pretrained: from_pretrained folder.
        folder: receives a fine-tuned folder for each start and seed.
        progress: called with a line after each of them.

    Returns:
        JSON-able dict: `scores` ("pretrained" and "random" -> test accuracy, 0 to 1, of each seed) and `model`, the
        folder of the first one fine-tuned from the pretrained weights.
    """
    task = DATA_FOLDER / "tasks" / "sentiment"
    files = {name: str(task / f"{name}.tsv") for name in ("train", "dev", "test")}
    scores = {"pretrained": [], "random": []}
    for start, accuracies in scores.items():
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
            accuracies.append(result["test"]["accuracy"])
            if progress:
                progress(
                    f"{start} weights, seed {seed}: {100 * accuracies[-1]:.1f} % of the test reviews correct"
                )
    summary = "; ".join(
        f"{start} {100 * mean(a):.1f} ± {100 * stdev(a):.1f} %" for start, a in scores.items()
    )
    return {"scores": scores, "model": str(folder / "pretrained_seed1"), "summary": summary}
