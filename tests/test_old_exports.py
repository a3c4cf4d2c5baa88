"""Model and export folders written by version 0.1.0 (tests/old_exports) load and give the answers recorded then."""

import json
from pathlib import Path

import pytest

import ernie_from_scratch as efs
from ernie_from_scratch.deployment.backends.registry import BACKENDS
from ernie_from_scratch.deployment.tasks import TASKS

FOLDER = Path(__file__).parent / "old_exports"


@pytest.mark.parametrize("entry", BACKENDS.values(), ids=list(BACKENDS))
@pytest.mark.parametrize("task", TASKS)
def test_old_folders_give_the_same_answers(task, entry):
    if entry.library:
        pytest.importorskip(entry.library)
    recorded = json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))[task]
    pipe = efs.pipeline(
        model=FOLDER / (f"{task}-{entry.format}" if entry.format else task), backend=entry.name
    )
    assert pipe.task == task
    inputs = [tuple(row["text"]) if isinstance(row["text"], list) else row["text"] for row in recorded]
    found = pipe(inputs, top_k=3)
    for answers, row in zip(found, recorded, strict=True):
        scores = [answer.pop("score") for answer in answers]
        assert scores == pytest.approx([answer.pop("score") for answer in row["predictions"]], rel=1e-4)
        for answer, expected in zip(answers, row["predictions"], strict=True):
            assert answer.pop("token_scores", []) == pytest.approx(expected.pop("token_scores", []), rel=1e-4)
            assert answer == expected
