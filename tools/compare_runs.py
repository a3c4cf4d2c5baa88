"""Are two runs identical? Compares metrics.jsonl, without speeds, and the weights, to the last bit.

    .venv/bin/python tools/compare_runs.py runs/before runs/after
    .venv/bin/python tools/compare_runs.py runs/before runs/after --rename sop_loss=pair_loss

Each argument is the --output_dir of `ernie pretrain` or `ernie finetune`. Weights are every model_state.pdparams
in either folder (checkpoints, final/), compared by tensor name, dtype, shape and bytes: their order in the file
does not matter. Exit code: 0 identical, 1 different, 2 nothing to compare.
"""

import argparse
import hashlib
import json
import sys
import warnings
from itertools import zip_longest
from pathlib import Path

import numpy as np

METRICS, WEIGHTS = "metrics.jsonl", "model_state.pdparams"


def is_speed(name: str) -> bool:
    return name.endswith("_per_second") or name == "mfu"


def read_metrics(run: Path, renamed: dict[str, str]) -> list[dict]:
    """Rows without speeds, with metrics under their new names."""
    rows = [json.loads(line) for line in (run / METRICS).read_text(encoding="utf-8").splitlines()]
    return [{renamed.get(name, name): row[name] for name in row if not is_speed(name)} for row in rows]


def compare_metrics(before: list[dict], after: list[dict]) -> list[str]:
    """What differs, one line for each row and metric."""
    differences = []
    for old, new in zip_longest(before, after):
        if old is None or new is None:
            differences.append(f"{METRICS}: {len(before)} rows and {len(after)} rows")
            break
        for name in dict.fromkeys([*old, *new]):
            if old.get(name, "missing") != new.get(name, "missing"):
                at = f"{METRICS}: step {old.get('step')}" + (f", {old['eval']}" if "eval" in old else "")
                differences.append(f"{at}: {name} {old.get(name, 'missing')} and {new.get(name, 'missing')}")
    return differences


def weight_files(run: Path) -> set[Path]:
    """Weight files of a run, relative to it; model_last is a link to one of them and is left out."""
    found = (file.relative_to(run) for file in run.rglob(WEIGHTS))
    return {file for file in found if "model_last" not in file.parts}


def read_weights(file: Path) -> dict[str, np.ndarray]:
    warnings.filterwarnings("ignore", "No ccache found")  # Paddle's, at import
    import paddle

    return {name: np.asarray(value) for name, value in paddle.load(str(file), return_numpy=True).items()}


def checksum(weights: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {weights[name].shape}".encode())
        digest.update(weights[name].tobytes())
    return digest.hexdigest()


def compare_weights(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> list[str]:
    """What differs, one line for each tensor."""
    differences = [f"{name} is only in one run" for name in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        old, new = before[name], after[name]
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            differences.append(f"{name}: {old.dtype} {old.shape} and {new.dtype} {new.shape}")
        elif old.tobytes() != new.tobytes():
            distance = np.abs(old.astype(np.float64) - new.astype(np.float64)).max()
            differences.append(f"{name}: largest difference {distance:.3g}")
    return differences


def compare_runs(before: Path, after: Path, renamed: dict[str, str]) -> list[str]:
    """Prints what was compared; returns what differs."""
    old, new = read_metrics(before, renamed), read_metrics(after, {})
    differences = compare_metrics(old, new)
    print(f"{METRICS}: {len(old)} rows, {len(differences)} differences")
    files = weight_files(before), weight_files(after)
    differences += [f"{file} is only in one run" for file in sorted(files[0] ^ files[1])]
    for file in sorted(files[0] & files[1]):
        weights = read_weights(before / file), read_weights(after / file)
        checksums = [checksum(tensors)[:16] for tensors in weights]
        found = compare_weights(*weights)
        print(f"{file}: {len(weights[0])} tensors, {' and '.join(checksums)}, {len(found)} differences")
        differences += [f"{file}: {line}" for line in found]
    return differences


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="run folder of the code before the change")
    parser.add_argument("after", type=Path, help="run folder of the code after the change")
    parser.add_argument(
        "--rename",
        nargs="*",
        default=[],
        metavar="OLD=NEW",
        help="metrics that the change renames on purpose",
    )
    args = parser.parse_args(arguments)
    for run in (args.before, args.after):
        if not (run / METRICS).is_file():
            print(f"error: {run} has no {METRICS}; give the output_dir of a run", file=sys.stderr)
            return 2
    renamed = dict(pair.split("=", 1) for pair in args.rename)
    differences = compare_runs(args.before, args.after, renamed)
    for line in differences[:20]:
        print(line)
    if len(differences) > 20:
        print(f"... and {len(differences) - 20} more")
    print("different" if differences else "identical")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
