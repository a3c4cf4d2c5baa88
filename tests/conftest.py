"""Fixtures for all tests. Importing the package first applies the process settings before Paddle is imported."""

import os
from pathlib import Path

import pytest

import ernie_from_scratch  # noqa: F401

# isort: split
import process_helpers

ROOT = Path(__file__).resolve().parents[1]

process_helpers.set_default_signals()

# The files that take longest, of which the workers of `make test` (--dist loadfile) begin with the first: a long file
# at the end would leave all workers but one without work. Any other order is right too, only slower.
LONGEST_FIRST = (
    "test_processes.py", "test_parallel_training.py", "test_demo.py", "test_plan_memory_parallel.py",
    "test_parallel_gloo.py", "test_trainer.py", "test_encode.py", "test_export.py", "test_prepare.py",
    "test_readme_commands.py",
)  # fmt: skip


def pytest_configure(config):
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # xdist would begin with the files that have most tests


def pytest_collection_modifyitems(config, items):
    if os.environ.get("PYTEST_XDIST_WORKER"):
        places = {name: place for place, name in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(autouse=True)
def _no_process_is_left():
    yield
    process_helpers.kill_started()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real corpora; tests that use it carry `@pytest.mark.real_data`."""
    named = os.environ.get("EFS_REAL_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set EFS_REAL_DATA to the folder that holds it")
    return folder


@pytest.fixture
def many_documents(tmp_path) -> Path:
    """A text file of 300 documents, about 90 kB."""
    from text_helpers import PARAGRAPHS

    path = tmp_path / "many.txt"
    path.write_text("\n\n".join(f"第{n}篇。" + PARAGRAPHS[n % 5] * 2 for n in range(300)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def review_task(tmp_path_factory) -> Path:
    """A pretrained folder (random weights) and the three sets of a task that can be learnt."""
    from deployment_helpers import write_model, write_reviews

    folder = tmp_path_factory.mktemp("task")
    write_model(folder / "pretrained", initializer_range=0.02)
    for name, count, seed in (("train", 240, 1), ("dev", 60, 2), ("test", 60, 3)):
        write_reviews(folder / f"{name}.tsv", count, seed)
    return folder


@pytest.fixture(scope="module")
def finetuned(review_task, tmp_path_factory):
    """An uninterrupted fine-tuning run on it: (folder, results)."""
    from deployment_helpers import run_settings

    from ernie_from_scratch.finetuning.finetune import finetune

    folder = tmp_path_factory.mktemp("finished") / "run"
    chosen = run_settings(review_task, folder, test=str(review_task / "test.tsv"))
    return folder, finetune(chosen, quiet=True)
