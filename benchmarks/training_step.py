"""One pretraining step (forward, losses, backward, clipping, AdamW) on one core: this project beside its peers.

    python benchmarks/training_step.py [--rounds 7] [--real_text FILE --vocab FILE] [--torch_python PYTHON]

Every contender is a process of its own with one thread; they take turns step by step, so that a busy machine
slows all of them alike. Times are CPU time of the process, figures medians over the rounds, ratios to
PaddleNLP as it comes. Contenders: PaddleNLP's ErnieForPretraining as it comes; the same under this project's
process settings; Hugging Face's ErnieForPreTraining in torch, fp32, predicting at the masked positions only
(its faster form); this project. All have gathered masked positions and dropout 0.1.

FILE, plain text with a document a line or a ChnSentiCorp tsv, gives rows of real lengths; this project then
packs them. PYTHON is an interpreter with torch and transformers, where this one lacks them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

VOCABULARY = 18_000
SIZES = {"4x312": (4, 312, 12), "12x768": (12, 768, 12)}  # layers, hidden size, heads
SHAPES = [("4x312", 8, 128), ("4x312", 8, 512), ("12x768", 4, 128)]  # size, rows, tokens a row
CONTENDERS = {
    "paddlenlp": "PaddleNLP as it comes",
    "paddlenlp_set": "PaddleNLP, our process settings",
    "huggingface": "Hugging Face + torch fp32",
    "ours": "ernie_from_scratch",
}
BATCHES = 4


def configuration(size: str, dropout: float) -> dict:
    layers, hidden, heads = SIZES[size]
    return dict(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        hidden_act="gelu",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=513,
        type_vocab_size=2,
    )


def random_batches(rows: int, length: int, lengths=None) -> list[dict]:
    """Batches of random ids; with `lengths`, rows of those many tokens, the rest padding."""
    rng = np.random.default_rng(0)
    batches = []
    for number in range(BATCHES):
        held = np.full(rows, length) if lengths is None else np.asarray(lengths)[number * rows :][:rows]
        width = int(-(-held.max() // 8) * 8)  # L
        real = np.arange(width) < held[:, None]  # [B, L]
        ids = np.where(real, rng.integers(5, VOCABULARY, (rows, width)), 0)  # [B, L]
        places = np.flatnonzero(real)
        masked = np.sort(rng.choice(places, round(0.15 * len(places)), replace=False))  # [M]
        batches.append(
            dict(
                input_ids=ids,
                token_type_ids=((np.arange(width) >= held[:, None] // 2) & real).astype(np.int64),
                attention_mask=real.astype(np.int64),
                masked_positions=masked,
                labels=rng.integers(5, VOCABULARY, len(masked)),
                order=rng.integers(0, 2, rows),
            )
        )
    return batches


# --- contenders, each in its own process -----------------------------------------------------------


def paddle_step(which: str, config: dict, pack: bool):
    import paddle

    if which == "ours":
        import ernie_from_scratch as efs

        model = efs.ErnieForPretraining(efs.ErnieConfig(**config, pack_rows=pack))
    else:
        from paddlenlp.transformers import ErnieConfig, ErnieForPretraining

        model = ErnieForPretraining(ErnieConfig(**config))
    from paddle.nn.functional import cross_entropy

    model.train()
    optimizer = paddle.optimizer.AdamW(
        1e-4, parameters=model.parameters(), grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0)
    )

    def step(batch):
        tensors = {name: paddle.to_tensor(array) for name, array in batch.items()}
        mask = None if batch["attention_mask"].all() else tensors["attention_mask"]
        scores, order = model(
            tensors["input_ids"],
            token_type_ids=tensors["token_type_ids"],
            attention_mask=mask,
            masked_positions=tensors["masked_positions"],
        )
        loss = cross_entropy(scores, tensors["labels"]) + cross_entropy(order, tensors["order"])
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    return model, step


def torch_step(config: dict):
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import ErnieConfig, ErnieForPreTraining

    torch.set_num_threads(1)
    model = ErnieForPreTraining(ErnieConfig(**config))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)

    def step(batch):
        tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
        mask = None if batch["attention_mask"].all() else tensors["attention_mask"]
        hidden, pooled = model.ernie(
            tensors["input_ids"],
            token_type_ids=tensors["token_type_ids"],
            attention_mask=mask,
            return_dict=False,
        )
        gathered = hidden.reshape(-1, hidden.shape[-1])[tensors["masked_positions"]]  # [M, H]
        scores = model.cls.predictions(gathered)  # [M, V]
        order = model.cls.seq_relationship(pooled)  # [B, 2]
        loss = cross_entropy(scores, tensors["labels"]) + cross_entropy(order, tensors["order"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    return model, step


def work(which: str, job: dict) -> None:
    """The child process: one line with "ready", then for each line read one step and its CPU seconds."""
    import resource
    import time

    if which in ("ours", "paddlenlp_set"):
        import ernie_from_scratch  # noqa: F401  (before paddle: the process settings)
    batches = [dict(np.load(file)) for file in job["batches"]]
    config = configuration(job["size"], job["dropout"])
    _, step = torch_step(config) if which == "huggingface" else paddle_step(which, config, job["pack"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for number, _ in enumerate(sys.stdin):
        start = time.process_time()
        loss = step(batches[number % len(batches)])
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sys.stdout.write(
            json.dumps({"seconds": seconds, "loss": loss, "peak": peak, "grown": peak - before}) + "\n"
        )
        sys.stdout.flush()


class Contender:
    """A child process that makes a step whenever it is asked."""

    def __init__(self, which: str, job: dict, python: str):
        from ernie_from_scratch.process_setup import plain_environment

        plain = which in ("paddlenlp", "huggingface")
        environment = (plain_environment() if plain else dict(os.environ)) | {
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }
        command = [python, __file__, "--work", which, "--job", json.dumps(job)]
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.which = which
        while (line := self.process.stdout.readline()) != "ready\n":  # libraries may greet
            if not line:
                sys.exit(f"error: {which} does not start; run: {' '.join(command[:4])} …")

    def step(self) -> dict:
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        while not (line := self.process.stdout.readline()).startswith("{"):
            if not line:
                sys.exit(f"error: {self.which} ended in the middle of a step")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# --- measuring -------------------------------------------------------------------------------------


def flops(size: str, batches: list[dict]) -> float:
    """Floating point operations of the products in one step, forward and backward, real tokens only."""
    from ernie_from_scratch.config import ErnieConfig
    from ernie_from_scratch.dataset.batch import row_lengths
    from ernie_from_scratch.planner.counts import step_flops

    config = ErnieConfig(**configuration(size, 0.1))
    return statistics.mean(step_flops(config, row_lengths(b), len(b["masked_positions"])) for b in batches)


def gemm_peak() -> float:
    """FLOP/s of one core on a 1024 x 1024 product in Paddle under this project's settings (CPU time)."""
    code = (
        "import ernie_from_scratch, paddle, time\n"
        "a = paddle.rand([1024, 1024])\n"
        "for _ in range(10): a @ a\n"
        "best = 0\n"
        "for _ in range(20):\n"
        "    t = time.process_time()\n"
        "    for _ in range(5): a @ a\n"
        "    best = max(best, 10 * 1024**3 / (time.process_time() - t))\n"
        "print(best)"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def measure(title, size, batches, contenders, rounds, pack, pythons, peak):
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, batch in enumerate(batches):
            files.append(str(Path(folder) / f"{number}.npz"))
            np.savez(files[-1], **batch)
        job = {"size": size, "dropout": 0.1, "pack": pack, "batches": files}
        running = [Contender(which, job, pythons.get(which, sys.executable)) for which in contenders]
        found = {which: [] for which in contenders}
        for turn in range(rounds + 1):
            for contender in running:
                results = [contender.step() for _ in batches]
                if turn:  # the first round warms up
                    found[contender.which].append(results)
        for contender in running:
            contender.close()
    tokens = statistics.mean(int(batch["attention_mask"].sum()) for batch in batches)
    base = [sum(r["seconds"] for r in results) for results in found[contenders[0]]]
    print(f"\n### {title}\n")
    print("| contender | ms a step | tokens/s | ratio | share of GEMM peak | memory of the steps, MB |")
    print("|---|---|---|---|---|---|")
    for which in contenders:
        times = [sum(r["seconds"] for r in results) for results in found[which]]
        seconds = statistics.median(times) / len(batches)
        ratio = statistics.median(b / t for b, t in zip(base, times, strict=True))
        share = flops(size, batches) / seconds / peak
        grown = found[which][-1][-1]["grown"] / 1024
        print(
            f"| {CONTENDERS[which]} | {1000 * seconds:.0f} | {tokens / seconds:,.0f} | {ratio:.2f} "
            f"| {share:.0%} | {grown:,.0f} |",
            flush=True,
        )


def same_curve(steps: int) -> None:
    """The largest difference of the losses over `steps` steps, PaddleNLP's weights in both, dropout 0."""
    import paddle
    from paddlenlp.transformers import ErnieConfig, ErnieForPretraining

    config = configuration("4x312", 0.0)
    paddle.seed(0)
    theirs = ErnieForPretraining(ErnieConfig(**config))
    losses = {}
    for which in ("paddlenlp", "ours"):
        model, step = paddle_step(which, config, pack=which == "ours")
        model.set_state_dict(theirs.state_dict())
        lengths = np.random.default_rng(1).integers(20, 65, BATCHES * 8)
        batches = random_batches(8, 64, lengths)
        losses[which] = np.array([step(batches[n % len(batches)]) for n in range(steps)])
    difference = np.abs(losses["ours"] - losses["paddlenlp"]).max()
    first, last = losses["ours"][0], losses["ours"][-1]
    print(
        f"\nLoss over {steps} steps, rows of 20 to 64 tokens, ours packed, no dropout: {first:.3f} to {last:.3f}; "
    )
    print(f"largest difference to PaddleNLP's: {difference:.1e}.")


def real_lengths(text: Path, vocabulary: Path, length: int, count: int) -> np.ndarray:
    """Token counts of texts in `text`, with [CLS] and [SEP], at most `length`."""
    from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
    from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer

    tokenizer = ErnieTokenizer(Vocabulary.load(vocabulary))
    lines = [line.split("\t")[-1].strip() for line in text.read_text(encoding="utf-8").splitlines()[1:]]
    lines = [line for line in lines if line]
    chosen = np.random.default_rng(0).choice(len(lines), count, replace=False)
    return np.array([len(tokenizer.encode(lines[n], max_seq_len=length)["input_ids"]) for n in chosen])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--real_text", type=Path, help="texts for rows of real lengths, one a line")
    parser.add_argument("--vocab", type=Path, help="vocab.txt to count their tokens with")
    parser.add_argument(
        "--torch_python", default=sys.executable, help="interpreter with torch and transformers"
    )
    parser.add_argument("--curve_steps", type=int, default=200, help="steps of the loss curves; 0: leave out")
    parser.add_argument("--work", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(args.work, args.job)

    from ernie_from_scratch.training.run_folder import environment

    contenders = list(CONTENDERS)
    probe = [args.torch_python, "-c", "import torch, transformers"]
    if subprocess.run(probe, capture_output=True).returncode:
        contenders.remove("huggingface")
        print(
            "torch or transformers is missing: Hugging Face is left out (--torch_python names another Python)"
        )
    machine, peak = environment(), gemm_peak()
    print(
        f"One core of {machine['processor']}, paddle {machine['paddle']}, GEMM peak {peak / 1e9:.0f} GFLOP/s."
    )
    pythons = {"huggingface": args.torch_python}
    for size, rows, length in SHAPES:
        title = f"{size}, {rows} full rows of {length}"
        batches = random_batches(rows, length)
        measure(title, size, batches, contenders, args.rounds, False, pythons, peak)
    if args.real_text:
        for rows in (8, 32):
            lengths = real_lengths(args.real_text, args.vocab, 128, rows * BATCHES)
            batches = random_batches(rows, 128, lengths)
            fill = sum(b["attention_mask"].sum() for b in batches) / sum(b["input_ids"].size for b in batches)
            title = f"4x312, {rows} rows of real lengths up to 128, {fill:.0%} filled"
            measure(title, "4x312", batches, contenders, args.rounds, True, pythons, peak)
    if args.curve_steps:
        same_curve(args.curve_steps)
    return None


if __name__ == "__main__":
    main()
