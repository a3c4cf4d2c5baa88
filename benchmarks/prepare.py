"""Raw text to files: `ernie prepare` beside PaddleNLP's way, jieba and others, in one run on one core.

python benchmarks/prepare.py [TEXT MORE …] [--vocab vocab.txt] [--rounds 3] [--large 500]

TEXT: .txt or .jsonl, also packed; without it, 200,000 sentences of the shipped recipe. PaddleNLP's
create_pretraining_data.py is not in its package; its loop is written out here (jieba, PaddleNLP's ErnieTokenizer, the
whole-word rule, np.save). The slow ones get a slice of the text.
Speeds are megabytes of raw text per second of processor time, the best of the rounds; rounds take turns.
--large N also prepares N MB (the text repeated) with 1 and 2 workers, and shows the memory of all processes.
"""

import argparse
import functools
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jieba
import numpy as np

from ernie_from_scratch.text.corpus.native_encoding import builtin_segmenter
from ernie_from_scratch.text.corpus.prepare import prepare
from ernie_from_scratch.text.corpus.prepared import open_prepared
from ernie_from_scratch.text.corpus.reading import read_documents, read_texts
from ernie_from_scratch.text.recipe import choose_facts, generate_corpus, load_facts, write_text
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary, build_vocabulary
from ernie_from_scratch.text.tokenizers.wordpiece import ErnieTokenizer

HAN = re.compile("[\u4e00-\u9fa5]")
SLICE_BYTES = 400_000  # of the text, for what does less than 1 MB/s


def peer_marks(tokens, words, longest=6):
    """PaddleNLP's whole-word rule, from its description."""
    known, out, i = set(words), [], 0
    while i < len(tokens):
        length = 1
        if HAN.search(tokens[i]):
            fits = (
                n for n in range(min(longest, len(tokens) - i), 0, -1) if "".join(tokens[i : i + n]) in known
            )
            length = next(fits, 1)
        out += [tokens[i], *(f"##{token}" for token in tokens[i + 1 : i + length])]
        i += length
    return out


def peer_prepare(documents, tokenizer, prefix):
    """What create_pretraining_data.py does with one worker."""
    ids, lens, docs = [], [], [0]
    for document in documents:
        for sentence in document:
            words = jieba.lcut(sentence)
            tokens = peer_marks(tokenizer.tokenize("".join(words)), words)
            found = tokenizer.convert_tokens_to_ids(tokens)
            if found:
                ids += found
                lens.append(len(found))
        docs.append(len(lens))
    np.save(f"{prefix}_ids.npy", np.array(ids, np.uint16))
    np.savez(f"{prefix}_idx.npz", lens=np.array(lens, np.int32), docs=np.array(docs, np.int64))


def candidates(text: Path, part: Path, vocabulary: Vocabulary, folder: Path):
    """(name, bytes of text, what to run) of everything compared."""
    from paddlenlp.transformers import ErnieTokenizer as PeerTokenizer

    ErnieTokenizer(vocabulary).save_pretrained(folder / "tokenizer")
    peer = PeerTokenizer.from_pretrained(str(folder / "tokenizer"))
    peer.extend_chinese_char()  # as create_pretraining_data.py does
    documents = [[sentence.text for sentence in document] for document in read_documents(part)]
    sentences = [sentence for document in documents for sentence in document]
    builtin = builtin_segmenter()
    whole, some = text.stat().st_size, part.stat().st_size
    yield "ernie prepare", whole, lambda: prepare(text, folder / "ours", vocabulary)
    marked = functools.partial(prepare, text, folder / "m", vocabulary, word_marks="paddlenlp")
    yield "ernie prepare --word_marks paddlenlp", whole, marked
    yield "PaddleNLP's loop", some, lambda: peer_prepare(documents, peer, folder / "peer")
    yield "jieba alone", some, lambda: [jieba.lcut(sentence) for sentence in sentences]
    yield "PaddleNLP's tokenizer alone", some, lambda: [peer.tokenize(sentence) for sentence in sentences]
    yield "built-in segmenter alone", some, lambda: [builtin.words(sentence) for sentence in sentences]
    try:
        import rjieba

        yield "rjieba alone", some, lambda: [rjieba.cut(sentence) for sentence in sentences]
    except ImportError:
        pass


def measure(rows, rounds: int) -> dict[str, float]:
    """MB/s of processor time, the best of `rounds`; the rows take turns so that all see the same machine."""
    best = {name: 0.0 for name, _, _ in rows}
    for _ in range(rounds):
        for name, size, run in rows:
            started = time.process_time()
            run()
            best[name] = max(best[name], size / 1e6 / (time.process_time() - started))
    return best


def equal_share(part: Path, vocabulary: Vocabulary, folder: Path) -> tuple[int, int]:
    """(sentences with the same ids, sentences) of --word_marks paddlenlp and PaddleNLP's loop."""
    one_line_each = folder / "lines.txt"
    documents = ("\n".join(s.text.replace("\n", " ") for s in document) for document in read_documents(part))
    one_line_each.write_text("\n\n".join(documents), encoding="utf-8")
    given = {"word_marks": "paddlenlp", "split_sentences": "newline", "min_document_length": 0}
    prepare(one_line_each, folder / "marked", vocabulary, max_sentence_length=10**6, **given)
    ours, theirs = open_prepared(folder / "marked"), open_prepared(folder / "peer")
    if not np.array_equal(ours.docs, theirs.docs):
        raise SystemExit("the two sides saw different sentences")
    pairs = zip(
        np.split(ours.ids, np.cumsum(ours.lens)), np.split(theirs.ids, np.cumsum(theirs.lens)), strict=True
    )
    return sum(np.array_equal(a, b) for a, b in pairs) - 1, len(ours.lens)


def large(text: Path, megabytes: int, vocabulary: Vocabulary, folder: Path) -> None:
    """Speed by the clock and peak memory of `ernie prepare` on a large file, with one and with two workers."""
    repeated = folder / f"large{text.suffix}"
    data = text.read_bytes().strip() + b"\n\n"
    with open(repeated, "wb") as file:
        for _ in range(megabytes * 1_000_000 // len(data) + 1):
            file.write(data)
    vocabulary.save(folder / "vocab.txt")
    size = repeated.stat().st_size / 1e6
    print(
        "\n| ernie prepare --shuffle | MB/s by the clock | peak memory of all processes, MB |\n|---|---|---|"
    )
    for workers in (1, 2):
        command = [sys.executable, "-m", "ernie_from_scratch", "prepare", "--input", str(repeated)]
        command += ["--output", str(folder / "large"), "--vocab", str(folder / "vocab.txt")]
        command += ["--workers", str(workers), "--shuffle"]
        started = time.perf_counter()
        peak = peak_memory(command)
        seconds = time.perf_counter() - started
        print(
            f"| {size:,.0f} MB of text, {workers} worker(s) | {size / seconds:.1f} | {peak:,.0f} |",
            flush=True,
        )


def peak_memory(command: list[str]) -> float:
    """Runs the command; the highest sum of resident memory of it and its children, in MB.

    Looked at 20 times a second; pages that several processes share are counted for each of them.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(map(resident, family(process.pid))))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"error: exit code {process.returncode} of {' '.join(command)}")
    return peak


def family(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for known in found:
        try:
            for thread in Path(f"/proc/{known}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
        except OSError:  # it has just ended
            pass
    return found


def resident(pid: int) -> float:
    """MB in memory; 0 for a process that has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
    except (OSError, IndexError):
        return 0.0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", nargs="*")
    parser.add_argument("--vocab", help="default: one made from the text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=0, metavar="MB")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    jieba.setLogLevel(60)
    jieba.initialize()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text, part = folder / "text.txt", folder / "part.txt"
        if not args.text:
            args.text = [str(folder / "recipe.txt")]
            write_text(generate_corpus(choose_facts(load_facts(), 2000, seed=1), 200_000), args.text[0])
        if args.vocab:
            vocabulary = Vocabulary.load(args.vocab)
        else:
            vocabulary = build_vocabulary(s.text for d in read_documents(args.text) for s in d)
        documents = ["\n".join(sentence.text for sentence in d) for d in read_documents(args.text)]
        text.write_text("\n\n".join(documents), encoding="utf-8")
        stride = max(1, text.stat().st_size // SLICE_BYTES)
        part.write_text("\n\n".join(documents[::stride]), encoding="utf-8")
        rows = list(candidates(text, part, vocabulary, folder))
        speeds = measure(rows, args.rounds)
        peer = speeds["PaddleNLP's loop"]
        print(f"{text.stat().st_size / 1e6:.1f} MB, {sum(1 for _ in read_texts(text)):,} sentences; "
              f"a slice of {part.stat().st_size / 1e6:.2f} MB for the slow ones; best of {args.rounds}\n")  # fmt: skip
        print("| one core, raw text to files unless said | MB/s | times PaddleNLP's loop |\n|---|---|---|")
        for name, speed in speeds.items():
            print(f"| {name} | {speed:.2f} | {speed / peer:.1f} |")
        same, sentences = equal_share(part, vocabulary, folder)
        print(f"| sentences with PaddleNLP's ids | {same} of {sentences} | {same / sentences:.3%} |")
        if args.large:
            large(text, args.large, vocabulary, folder)


if __name__ == "__main__":
    main()
