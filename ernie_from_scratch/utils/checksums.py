"""Manifests: the SHA-256 of each file of a folder, so that damage is noticed when the folder is read."""

import json
import os
from pathlib import Path

from ernie_from_scratch.utils.files import sha256_file

MANIFEST = "manifest.json"


def write_manifest(folder: str | os.PathLike) -> None:
    """Write `folder/manifest.json`: {path inside the folder: SHA-256 in hexadecimal} of every other file."""
    folder = Path(folder)
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    checksums = {name: sha256_file(folder / name) for name in names if name != MANIFEST}
    (folder / MANIFEST).write_text(json.dumps(checksums, indent=1), encoding="utf8")


def check_manifest(folder: str | os.PathLike) -> str | None:
    """Compare a folder with its manifest.json.

    Returns:
        One line that names the first problem (no manifest, a missing file, a wrong checksum), or None. Files
        that the manifest does not list are ignored.
    """
    folder = Path(folder)
    manifest = folder / MANIFEST
    try:
        checksums = json.loads(manifest.read_text(encoding="utf8"))
        if not isinstance(checksums, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError):
        return f"{manifest} is missing or unreadable"
    for name, checksum in checksums.items():
        file = folder / name
        if not file.is_file():
            return f"{file} is missing"
        if sha256_file(file) != checksum:
            return f"{file} does not match its checksum"
    return None
