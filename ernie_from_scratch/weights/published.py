"""Published models by name: PaddleNLP downloads them into its cache, going on where a download stopped."""

import base64
import hashlib
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

from ernie_from_scratch.config import UserError

TIMEOUT = 20  # seconds to wait for the server's word on a file


def fetch(config_class, name: str):
    """Configuration and path of the weights of the published model `name`.

    Raises UserError for an unknown name, without a network, and for a file that is not what the server announces.
    """
    if "/" in name or os.sep in name:
        raise UserError(f"no such folder: {name}; give a model folder or the name of a published model")
    try:
        from paddlenlp.transformers.ernie import configuration as published
        from paddlenlp.utils.download import resolve_file_path
    except ImportError as error:
        raise UserError(
            f"no such folder: {name}; give a model folder, or run "
            '`pip install "ernie_from_scratch[paddlenlp]"` to fetch published models by name'
        ) from error
    urls = published.ERNIE_PRETRAINED_RESOURCE_FILES_MAP["model_state"]
    if name not in urls:
        known = ", ".join(config_class.preset_names())
        raise UserError(f"no such folder or published model: {name}; known: {known}")
    config = config_class.from_dict(published.ERNIE_PRETRAINED_INIT_CONFIGURATION[name])
    try:
        path = Path(resolve_file_path(name, [urls[name]], resume_download=True))
    except Exception as error:  # whatever the download library of the day raises
        raise UserError(
            f"cannot fetch {name}: {urls[name]}; put that file into a folder as model_state.pdparams, beside "
            "config.json and vocab.txt, and give the folder"
        ) from error
    check_download(path, urls[name])
    return config, path


def check_download(path: Path, url: str) -> None:
    """Compare a fresh download with the server's checksum, if it gives one; FILE.md5 then notes that it was right.

    Raises UserError, and deletes the file, when it differs.
    """
    note = path.with_name(path.name + ".md5")
    if note.exists():
        return
    expected = announced_md5(url)
    if expected is None:
        return
    found = hashlib.md5()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    if found.hexdigest() != expected:
        path.unlink()
        raise UserError(
            f"damaged download: {path} is not what {url} announces (md5 {expected}); it is deleted, try again"
        )
    note.write_text(expected + "\n", encoding="ascii")


def announced_md5(url: str) -> str | None:
    """The MD5 of a file from its Content-MD5 header, or from an ETag of 32 hex digits; None if there is neither."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT) as answer:
            headers = answer.headers
    except (urllib.error.URLError, OSError):
        return None
    if headers.get("Content-MD5"):
        return base64.b64decode(headers["Content-MD5"]).hex()
    tag = re.fullmatch(r'"?([0-9a-f]{32})"?', headers.get("ETag", ""))
    return tag and tag.group(1)
