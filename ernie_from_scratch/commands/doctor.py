"""`ernie doctor`."""

from dataclasses import dataclass

from ernie_from_scratch.utils.settings import Settings, option

HELP = """Show what this machine has, which settings are in force, and what to do about what is missing

Examples:
  ernie doctor
  ernie doctor --json > machine.json     for a bug report or a script

The exit code is 1 when something is missing that the main path needs, else 0.
"""


@dataclass
class DoctorSettings(Settings):
    """Settings of `ernie doctor`."""

    json: bool = option(False, "print the findings as JSON")


SETTINGS = DoctorSettings


def run(settings: DoctorSettings) -> int:
    settings.check()
    import json

    from ernie_from_scratch.diagnostics import doctor

    findings = doctor.examine()
    report = doctor.to_json(findings)
    if settings.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        doctor.show(findings)
    return 0 if report["ready"] else 1
