"""Stages of a long journey: each is done once, its result is kept, and a second call goes on where the first ended."""

import json
import time
from pathlib import Path

from rich.console import Console

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.files import atomic_write


class Journey:
    """Run named stages in a folder; results (JSON-able dicts) are kept in `folder/stages/NAME.json` by rename.

    Args:
        folder: where everything goes.
        settings: dict that decides the results; a folder of other settings is refused.
        titles: stage name -> the line shown for it, in order.

    Raises:
        UserError: the folder can't be written, or holds a journey with other settings.
    """

    def __init__(self, folder, settings, titles, console=None):
        self.folder, self.titles = Path(folder), titles
        self.console = console or Console(highlight=False)
        self._check(settings)

    def _check(self, settings):
        try:
            (self.folder / "stages").mkdir(parents=True, exist_ok=True)
            kept = self.folder / "settings.json"
            if kept.exists():
                self._refuse_other(json.loads(kept.read_text(encoding="utf8")), settings)
            with atomic_write(kept) as temporary:
                temporary.write_text(json.dumps(settings, ensure_ascii=False, indent=1), encoding="utf8")
        except OSError as error:
            raise UserError(
                f"cannot write {self.folder}: {error.strerror}; choose another --output_dir"
            ) from error

    def _refuse_other(self, earlier, settings):
        for name in settings:
            if earlier.get(name) != settings[name]:
                raise UserError(
                    f"{self.folder} holds a demo with other settings: {name} was {earlier.get(name)!r} and is now "
                    f"{settings[name]!r}; use another --output_dir, or --fresh to start over"
                )

    def result(self, name):
        """The kept result of a stage, or None when it has not been done."""
        file = self.folder / "stages" / f"{name}.json"
        return json.loads(file.read_text(encoding="utf8")) if file.exists() else None

    def run(self, name, function):
        """Do stage `name` by calling `function() -> dict`, unless it has been done; returns its result.

        The dict's entry "said", if any, is the line shown when the stage is done.
        """
        number = f"[bold]{list(self.titles).index(name) + 1}/{len(self.titles)}[/bold] {self.titles[name]}"
        kept = self.result(name)
        if kept is not None:
            self.console.print(f"{number}: done before. {kept.get('said', '')}", soft_wrap=True)
            return kept
        self.console.print(f"{number} …")
        start = time.perf_counter()
        result = function()
        result["seconds"] = round(time.perf_counter() - start, 1)
        with atomic_write(self.folder / "stages" / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(result, ensure_ascii=False, indent=1), encoding="utf8")
        self.console.print(
            f"    [green]done[/green] in {result['seconds']} s. {result.get('said', '')}", soft_wrap=True
        )
        return result
