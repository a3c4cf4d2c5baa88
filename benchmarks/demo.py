"""The first table of RESULTS.md: what a finished `ernie demo` found and how long each stage took.

python benchmarks/demo.py [runs/demo]
"""

import datetime
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

from ernie_from_scratch.training.run_folder import environment


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main(folder):
    results = {
        file.stem: json.loads(file.read_text(encoding="utf8")) for file in (folder / "stages").glob("*.json")
    }
    settings = json.loads((folder / "settings.json").read_text(encoding="utf8"))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    machine = environment()
    print(
        f"{datetime.date.today()}, commit {commit}, {machine['cores']} cores of {machine['processor']}, ",
        end="",
    )
    print(f"paddle {machine['paddle']}, device {machine['device']}; settings {settings}\n")
    cells = {}
    for row in results["cloze"]["rows"]:
        cells.setdefault((row["probes"], row["strategy"]), {})[row["masking"]] = row
    lines = [
        [
            probes,
            strategy,
            *(f"{100 * found[m]['accuracy']:.1f} %" for m in ("entity", "char")),
            f"{100 * found['char']['before']:.1f} %",
        ]
        for (probes, strategy), found in cells.items()
    ]
    print(
        table(["cloze, whole entity", "filling", "entity masking", "character masking", "untrained"], lines)
    )
    print(f"\nAlways the relation's commonest answer: {100 * results['cloze']['majority']:.1f} %.")
    tokens = results["pretrain"]["tokens"]
    print(f"Tokens read: {', '.join(f'{m} {n / 1e6:.2f} M' for m, n in tokens.items())}.\n")
    scores = results["finetune"]["scores"]
    lines = [
        [start, f"{100 * mean(found):.1f} ± {100 * stdev(found):.1f} %"] for start, found in scores.items()
    ]
    print(table(["sentiment, start", "test accuracy (seeds: mean ± deviation)"], lines) + "\n")
    order = ["recipe", "vocabulary", "prepare", "pretrain", "cloze", "finetune", "export", "serve", "report"]
    seconds = [[name, results[name]["seconds"]] for name in order]
    print(table(["stage", "seconds"], [*seconds, ["all", round(sum(s for _, s in seconds), 1)]]))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
