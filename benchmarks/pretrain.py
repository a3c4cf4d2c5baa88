"""A real run of `ernie pretrain` on this machine's cores, stopped and resumed between turns of PaddleNLP.

    python benchmarks/pretrain.py [--input_dir PREFIX] --output_dir runs/real [--minutes 44] [--nproc 2] [--turns 4]

PREFIX is a prepared corpus (`ernie prepare`); without it, 100,000 sentences of the shipped recipe. A network of
4 layers x 312 is pretrained with whole words masked and sentence order, on rows of 128 tokens. After each turn
the run is stopped with SIGTERM, and PaddleNLP's ErnieForPretraining as it comes takes steps of the same rows,
in as many processes (paddle.DataParallel), for --peer_seconds; then the run is started again. Printed: both
speeds turn by turn, and what the run has learnt.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = dict(num_hidden_layers=4, hidden_size=312, num_attention_heads=12, intermediate_size=1248)
LENGTH, MICRO, BATCH = 128, 16, 32
PROBE_STEPS = 40


def command(args, folder, steps):
    """`ernie pretrain` as it is typed."""
    flags = dict(
        input_dir=args.input_dir,
        output_dir=folder,
        ernie_config_file=args.config,
        max_seq_len=LENGTH,
        micro_batch_size=MICRO,
        global_batch_size=BATCH,
        max_steps=steps,
        max_lr=1e-3,
        min_lr=1e-5,
        warmup_rate=0.05,
        eval_freq=steps // 20 if steps > PROBE_STEPS else 0,
        eval_iters=20,
        checkpoint_steps=200,
        logging_freq=10,
        nproc=args.nproc,
    )
    return ["pretrain", *(word for name, value in flags.items() for word in (f"--{name}", str(value)))]


def shipped_corpus(folder):
    """Prepare sentences of the shipped recipe in `folder`, unless it has them; returns the prefix."""
    from ernie_from_scratch.experiments.demo.settings import DemoSettings
    from ernie_from_scratch.experiments.demo.text_stages import write_prepared, write_recipe, write_vocabulary

    folder = Path(folder)
    text, words, prefix = folder / "recipe.jsonl", folder / "vocab.txt", folder / "recipe"
    if not Path(f"{prefix}_meta.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_recipe(DemoSettings(facts=2000, sentences=100_000), text)
        write_vocabulary(text, words)
        write_prepared(text, prefix, words, segmenter="builtin")
    return str(prefix)


def write_network(input_dir, file):
    """The configuration of a network with the words of a prepared corpus; returns its path."""
    from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary

    meta = json.loads(Path(f"{input_dir}_meta.json").read_text(encoding="utf8"))
    words = len(Vocabulary.load(meta["vocabulary"]["path"]))
    config = CONFIG | dict(vocab_size=words, max_position_embeddings=513, type_vocab_size=2)
    Path(file).write_text(json.dumps(config, indent=1))
    return str(file)


def rows_of(folder):
    from ernie_from_scratch.training.metrics import read_metrics

    return read_metrics(Path(folder) / "metrics.jsonl")


def probe(args, folder):
    """Training rows of metrics.jsonl of a short run."""
    subprocess.run(ernie(command(args, folder, PROBE_STEPS)), check=True, capture_output=True)
    return [row for row in rows_of(folder) if "eval" not in row]


def speed(args):
    """Steps a second of the run, from a short one."""
    with tempfile.TemporaryDirectory() as folder:
        rows = probe(args, folder)
    return statistics.median(row["samples_per_second"] for row in rows[1:]) / BATCH


def ernie(words):
    return [sys.executable, "-m", "ernie_from_scratch", *words]


def turn(args, steps, seconds):
    """The run for so many seconds; its median tokens a second in them, and whether it has come to its end."""
    file = Path(args.output_dir) / "metrics.jsonl"
    before = len(rows_of(args.output_dir)) if file.exists() else 0
    process = subprocess.Popen(ernie(command(args, args.output_dir, steps)), stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < seconds:
        time.sleep(1)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    if process.wait(120):
        sys.exit("the run failed; see its logs folder")
    rows = [row for row in rows_of(args.output_dir)[before:] if "eval" not in row]
    return statistics.median(row["tokens_per_second"] for row in rows), rows[-1]["step"] >= steps


def peer_turn(args):
    """Tokens a second of PaddleNLP in the same number of processes."""
    from ernie_from_scratch.parallel.launch import run_script
    from ernie_from_scratch.process_setup import plain_environment

    with tempfile.TemporaryDirectory() as folder:
        own = ["--peer", args.config, "--input_dir", args.input_dir, "--peer_seconds", args.peer_seconds]
        if run_script(__file__, own, args.nproc, folder, environment=plain_environment()):
            sys.exit(Path(folder, "launcher.log").read_text(errors="replace"))
        lines = Path(folder, "workerlog.0").read_text(errors="replace").splitlines()
    return float(next(line for line in lines if line.startswith("tokens/s")).split()[1])


def peer(args):
    """One of PaddleNLP's processes."""
    import paddle
    import paddle.distributed as dist
    from paddlenlp.transformers import ErnieConfig, ErnieForPretraining, ErniePretrainingCriterion

    from ernie_from_scratch.dataset.batch import to_tensors
    from ernie_from_scratch.dataset.loader import BatchLoader
    from ernie_from_scratch.training.pretrain import build_source, corpus_prefixes, load_vocabulary
    from ernie_from_scratch.training.settings import PretrainSettings

    dist.init_parallel_env()
    rank, size = dist.get_rank(), dist.get_world_size()
    settings = PretrainSettings(
        input_dir=args.input_dir, output_dir="-", ernie_config_file=args.peer, max_seq_len=LENGTH,
        micro_batch_size=MICRO, global_batch_size=BATCH,
    ).check()  # fmt: skip
    prefixes = corpus_prefixes(settings.input_dir)
    data = build_source(settings, prefixes, load_vocabulary(settings, prefixes))
    config = json.loads(Path(args.peer).read_text())
    network = ErnieForPretraining(ErnieConfig(**config))
    model, criterion = paddle.DataParallel(network), ErniePretrainingCriterion(with_nsp_loss=True)
    optimizer = paddle.optimizer.AdamW(
        1e-4, parameters=model.parameters(), grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0)
    )
    loader, began, tokens = BatchLoader(data["train"], MICRO, rank=rank, world_size=size), None, 0
    model.train()
    stop = paddle.zeros([1])
    while not stop.item():
        batch = next(loader)
        tensors = to_tensors(batch)
        scores, order = model(
            tensors["input_ids"],
            token_type_ids=tensors["token_type_ids"],
            attention_mask=tensors["attention_mask"],
            masked_positions=tensors["masked_positions"],
        )
        lm_loss, order_loss = criterion(
            scores, order, tensors["masked_lm_labels"].unsqueeze(-1), tensors["next_sentence_label"]
        )
        loss = lm_loss + order_loss
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        if began is None:  # the first step warms up
            began = time.monotonic()
            continue
        tokens += int(
            batch["input_ids"].size if batch["attention_mask"] is None else batch["attention_mask"].sum()
        )
        seconds = time.monotonic() - began
        stop = paddle.to_tensor([float(seconds > args.peer_seconds)])
        dist.all_reduce(stop)
    count = paddle.to_tensor([float(tokens)], dtype="float64")
    dist.all_reduce(count)
    if rank == 0:
        print("tokens/s", count.item() / seconds, "loss", float(loss), flush=True)
    loader.close()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input_dir")
    parser.add_argument("--output_dir", default="runs/real")
    parser.add_argument("--minutes", type=float, default=44, help="of training, without PaddleNLP's turns")
    parser.add_argument("--nproc", type=int, default=2)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--peer_seconds", type=float, default=60)
    parser.add_argument("--peer", metavar="CONFIG", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args)
    from ernie_from_scratch.training.run_folder import environment

    Path(args.output_dir).mkdir(parents=True, exist_ok=True)
    args.input_dir = args.input_dir or shipped_corpus(f"{args.output_dir}_corpus")
    args.config = write_network(args.input_dir, Path(args.output_dir) / "network.json")
    steps = round(args.minutes * 60 * speed(args))
    machine = environment()
    print(
        f"{machine['cores']} cores of {machine['processor']}, paddle {machine['paddle']}, {args.nproc} processes.\n"
    )
    print("    ernie " + " ".join(command(args, args.output_dir, steps)) + "\n")
    print("| turn | ernie_from_scratch, tokens/s | PaddleNLP, tokens/s | ratio |\n|---|---|---|---|")
    ratios, done, number = [], False, 0
    while not done:
        number += 1
        own, done = turn(args, steps, 60 * args.minutes / args.turns)
        other = peer_turn(args)
        ratios.append(own / other)
        print(f"| {number} | {own:,.0f} | {other:,.0f} | {ratios[-1]:.2f} |", flush=True)
    print(f"\nMedian ratio {statistics.median(ratios):.2f}.\n")
    print("| step | tokens read | valid loss | masked LM | sentence order | masked accuracy | perplexity |")
    print("|---|---|---|---|---|---|---|")
    rows = rows_of(args.output_dir)
    read = {row["step"]: row["tokens"] for row in rows if "eval" not in row}
    for row in rows:
        if row.get("eval") == "valid":
            known = max(step for step in read if step <= row["step"])
            print(
                f"| {row['step']:,} | {read[known] / 1e6:.2f} M | {row['loss']:.3f} | {row['lm_loss']:.3f} "
                f"| {row['sop_loss']:.3f} | {row['masked_accuracy']:.1%} | {row['perplexity']:,.0f} |"
            )
    return None


if __name__ == "__main__":
    main()
