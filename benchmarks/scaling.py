"""Tokens a second of `ernie pretrain` in one process and in two, in turns.

    python benchmarks/scaling.py [--input_dir PREFIX] [--processes 1 2] [--rounds 3]

PREFIX is a prepared corpus (`ernie prepare`); without it, 100,000 sentences of the shipped recipe. The same 40
steps (4 layers x 312, 32 rows of 128 tokens a step) are taken by each number of processes: the losses must come
out the same, and the speed is the median over logged steps.
"""

import argparse
import statistics
import sys
import tempfile
from types import SimpleNamespace

from pretrain import probe, shipped_corpus, write_network


def run(folder, input_dir, config, processes):
    """(tokens a second, share of the peak, last loss) of a short run."""
    args = SimpleNamespace(input_dir=input_dir, config=config, nproc=processes)
    rows = probe(args, folder)
    speed, share = (statistics.median(row[name] for row in rows[1:]) for name in ("tokens_per_second", "mfu"))
    return speed, share, rows[-1]["loss"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input_dir")
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    found = {count: [] for count in args.processes}
    with tempfile.TemporaryDirectory() as name:
        args.input_dir = args.input_dir or shipped_corpus(f"{name}/corpus")
        config = write_network(args.input_dir, f"{name}/network.json")
        for turn in range(args.rounds):
            for count in args.processes:
                found[count].append(run(f"{name}/{count}-{turn}", args.input_dir, config, count))
    losses = {loss for runs in found.values() for *_, loss in runs}
    if max(losses) - min(losses) > 1e-5:
        sys.exit(f"the runs differ: last losses {sorted(losses)}")
    print("| processes | tokens/s, median of the turns | times the first | share of the peak | last loss |")
    print("|---|---|---|---|---|")
    first = None
    for count, runs in found.items():
        speed, share, loss = (statistics.median(column) for column in zip(*runs, strict=True))
        first = first or speed
        print(f"| {count} | {speed:,.0f} | {speed / first:.2f} | {share:.0%} | {loss:.6f} |")


if __name__ == "__main__":
    main()
