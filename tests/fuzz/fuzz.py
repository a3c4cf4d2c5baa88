"""Fuzz targets of the C++ helpers: `make fuzz` and `make asan`, or see fuzz.sh.

A target draws its input from bytes with the hypothesis strategies of the tests, runs the C++ helper and its
Python version on it, and fails when the two differ. There are two sources of bytes:

    python tests/fuzz/fuzz.py NAME [libFuzzer's flags] [folder of inputs, or one input]
        libFuzzer through atheris. The Python version is instrumented, and inputs that reach new lines are kept.
    python tests/fuzz/fuzz.py --random SECONDS NAME
        random bytes, for the sanitized helpers: g++'s libasan and libFuzzer do not work together. The bytes of
        the current run are in build/fuzz/NAME/last, so that a crash leaves its input.
    python tests/fuzz/fuzz.py
        the names of the targets.
"""

import inspect
import random
import sys
import time
from pathlib import Path

TARGETS = ("words", "wordpiece", "encode", "text_arguments", "batches", "tables", "sampler_arguments")
LONGEST = 4096  # bytes of an input


def target(name: str):
    """The function of one argument, bytes."""
    import fuzz_text
    import test_sampler_cpp

    found = {
        "words": fuzz_text.words_equal,
        "wordpiece": fuzz_text.wordpiece_equal,
        "encode": fuzz_text.encode_equal,
        "text_arguments": fuzz_text.hostile_arguments,
        "batches": test_sampler_cpp.test_batches_are_identical,
        "tables": test_sampler_cpp.test_sample_tables_are_identical,
        "sampler_arguments": test_sampler_cpp.test_hostile_input_is_refused_or_survived,
    }
    return found[name].hypothesis.fuzz_one_input


def instrument_python_versions(atheris) -> None:
    """Coverage of their functions and methods."""
    from ernie_from_scratch.dataset import blending, collate, masking, sampler, samples
    from ernie_from_scratch.text.corpus import encoding, sentences
    from ernie_from_scratch.text.segmenters import dictionary
    from ernie_from_scratch.text.tokenizers import basic, wordpiece

    modules = (
        blending,
        collate,
        masking,
        sampler,
        samples,
        basic,
        dictionary,
        encoding,
        sentences,
        wordpiece,
    )
    for module in modules:
        for owner in (module, *(c for c in vars(module).values() if inspect.isclass(c))):
            for thing in vars(owner).values():
                if inspect.isfunction(thing) and thing.__module__ == module.__name__:
                    atheris.instrument_func(thing)


def run_random(name: str, seconds: float) -> None:
    import sanitized  # noqa: F401  the helpers under test, before anything imports the ordinary ones

    run, seed = target(name), time.time_ns()
    rng, last, runs = random.Random(seed), Path("build/fuzz") / name / "last", 0
    last.parent.mkdir(parents=True, exist_ok=True)
    run(bytes(LONGEST))  # makes the tables before the clock starts
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = rng.randbytes(rng.randrange(LONGEST))
        last.write_bytes(data)
        run(data)
        runs += 1
    print(f"{name}: {runs} inputs in {seconds:g} s, seed {seed}", flush=True)


def main():
    if len(sys.argv) == 1:
        print(*TARGETS, sep="\n")
    elif sys.argv[1] == "--random":
        run_random(sys.argv[3], float(sys.argv[2]))
    else:
        import atheris

        run = target(sys.argv.pop(1))
        run(bytes(LONGEST))  # makes the tables, while they are not instrumented
        instrument_python_versions(atheris)
        atheris.Setup(sys.argv, run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
