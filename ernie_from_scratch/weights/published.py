"""Published models by name: PaddleNLP downloads them into its cache, and resumes a download that was interrupted."""

import base64
import hashlib
import importlib
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

from ernie_from_scratch.config import EncoderConfig, UserError

TIMEOUT = 20  # seconds to wait for the server's headers


def fetch(config_class: type[EncoderConfig], name: str) -> tuple[EncoderConfig, Path]:
    """Configuration of the published model `name` and path of its weights; its family is that of `config_class`.

    Raises:
        UserError: an unknown name, no network, or a file that does not match the server's checksum.
    """
    if "/" in name or os.sep in name:
        raise UserError(f"no such folder: {name}; give a model folder or the name of a published model")
    family = config_class.MODEL_TYPE.replace("-", "_")  # as PaddleNLP names its packages
    try:
        published = importlib.import_module(f"paddlenlp.transformers.{family}.configuration")
        from paddlenlp.utils.download import resolve_file_path
    except ImportError as error:
        raise UserError(
            f"no such folder: {name}; give a model folder, or run "
            '`pip install "ernie_from_scratch[paddlenlp]"` to download published models by name'
        ) from error
    urls = getattr(published, f"{family.upper()}_PRETRAINED_RESOURCE_FILES_MAP")["model_state"]
    if name not in urls:
        known = ", ".join(config_class.preset_names())
        raise UserError(f"no such folder or published model: {name}; known: {known}")
    values = getattr(published, f"{family.upper()}_PRETRAINED_INIT_CONFIGURATION")[name]
    config = config_class.from_dict(values)
    try:
        path = Path(resolve_file_path(name, [urls[name]], resume_download=True))
    except Exception as error:  # the class depends on the download library that PaddleNLP uses
        raise UserError(
            f"cannot download {name}: {urls[name]}; put that file into a folder as model_state.pdparams, next to "
            "config.json and vocab.txt, and give the folder"
        ) from error
    check_download(path, urls[name])
    return config, path


def check_download(path: Path, url: str) -> None:
    """Compare a downloaded file with the server's checksum, if it has one, and remember the success in FILE.md5.

    Raises:
        UserError: they differ; the file is deleted.
    """
    verified = path.with_name(path.name + ".md5")
    if verified.exists():
        return
    expected = server_md5(url)
    if expected is None:
        return
    found = hashlib.md5()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    if found.hexdigest() != expected:
        path.unlink()
        raise UserError(
            f"damaged download: {path} does not have the checksum of {url} (md5 {expected}); it was deleted, try again"
        )
    verified.write_text(expected + "\n", encoding="ascii")


def server_md5(url: str) -> str | None:
    """The MD5 of a file in the Content-MD5 header, or in an ETag of 32 hexadecimal digits; None without either."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT) as response:
            headers = response.headers
    except (urllib.error.URLError, OSError):
        return None
    if headers.get("Content-MD5"):
        return base64.b64decode(headers["Content-MD5"]).hex()
    tag = re.fullmatch(r'"?([0-9a-f]{32})"?', headers.get("ETag", ""))
    return tag[1] if tag else None
