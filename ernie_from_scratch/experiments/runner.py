"""The runner of experiments: named stages, each of which runs once and keeps its result, so that a rerun resumes.

An experiment is a folder. Each stage is a function that returns a JSON-able dict, stored as `stages/NAME.json` when
the stage has finished. An interrupted experiment is resumed by the same command: finished stages are skipped, the
interrupted one runs again. A stage that takes long should therefore resume by itself, as a training run does from
its last checkpoint. The results of all stages are what a report is made from.

Many models, one after the other (each is a stage, so each is trained once):

    experiment = Experiment(folder, settings, {f"train_{name}": f"training {name}" for name in models})
    for name in models:
        experiment.run(f"train_{name}", lambda: train(name))
    report(experiment.results())

Several models side by side: one stage that calls `training_processes.train_side_by_side`. Each model is trained by
its own process in its own run folder, so after an interruption every model resumes from its own checkpoint.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.files import atomic_write


class Experiment:
    """Stages in one folder.

    Args:
        folder: where everything is written.
        settings: JSON-able dict of all that determines the results; it is stored in `folder/settings.json`.
        titles: name of each stage, in order -> the line shown for it.

    Raises:
        UserError: the folder cannot be written, or holds an experiment with other settings.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        settings: Mapping,
        titles: Mapping[str, str],
        console: Console | None = None,
    ):
        self.folder, self.titles = Path(folder), dict(titles)
        self.console = console or Console(highlight=False)
        try:
            (self.folder / "stages").mkdir(parents=True, exist_ok=True)
            file = self.folder / "settings.json"
            if file.exists():
                self._check_settings(json.loads(file.read_text(encoding="utf8")), settings)
            _write_json(file, settings)
        except OSError as error:
            raise UserError(
                f"cannot write {self.folder}: {error.strerror}; choose another --output_dir"
            ) from error

    def _check_settings(self, stored: Mapping, settings: Mapping) -> None:
        for name, value in settings.items():
            if stored.get(name) != value:
                raise UserError(
                    f"{self.folder} holds results of other settings: {name} was {stored.get(name)!r} and is now "
                    f"{value!r}; use another --output_dir, or --fresh to start over"
                )

    def _file(self, name: str) -> Path:
        return self.folder / "stages" / f"{name}.json"

    def result(self, name: str) -> dict | None:
        """The stored result of a stage, or None if it has not finished yet.

        Its entry "summary" is a line for people, "seconds" the running time of the stage.
        """
        if not self._file(name).exists():
            return None
        result = json.loads(self._file(name).read_text(encoding="utf8"))
        return {"summary": result.pop("said", ""), **result}  # "said": its name up to version 0.1

    def results(self) -> dict[str, dict]:
        """The results of all finished stages by name, in order."""
        return {name: result for name in self.titles if (result := self.result(name)) is not None}

    def run(self, name: str, stage: Callable[[], dict]) -> dict:
        """Run a stage and store its result, unless it has finished before; returns the result.

        Args:
            stage: returns a JSON-able dict; its entry "summary", if any, is shown when the stage has finished.
        """
        heading = f"[bold]{list(self.titles).index(name) + 1}/{len(self.titles)}[/bold] {self.titles[name]}"
        stored = self.result(name)
        if stored is not None:
            self.console.print(f"{heading}: done before. {stored['summary']}", soft_wrap=True)
            return stored
        self.console.print(f"{heading} …")
        start = time.perf_counter()
        result = {"summary": "", **stage()}
        result["seconds"] = round(time.perf_counter() - start, 1)
        _write_json(self._file(name), result)
        self.console.print(
            f"    [green]done[/green] in {result['seconds']} s. {result['summary']}", soft_wrap=True
        )
        return result


def _write_json(file: Path, value: Mapping) -> None:
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf8")
