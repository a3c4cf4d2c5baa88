"""Published models: resolving names, checking downloads, and the error without a network."""

import functools
import hashlib
import http.server
import sys
import threading
from pathlib import Path

import pytest
from models_helpers import largest_difference, outputs

import ernie_from_scratch as efs
from ernie_from_scratch.config import UserError
from ernie_from_scratch.weights import published


def test_published_name_offline_is_a_one_line_error_with_the_url(monkeypatch):
    download = pytest.importorskip("paddlenlp.utils.download", reason="PaddleNLP downloads")

    def offline(*args, **kwargs):
        assert kwargs["resume_download"]
        raise OSError("no network")

    monkeypatch.setattr(download, "resolve_file_path", offline)
    with pytest.raises(UserError) as error:
        efs.ErnieModel.from_pretrained("ernie-3.0-nano-zh")
    line = str(error.value)
    assert "ernie_3.0_nano_zh.pdparams" in line and "model_state.pdparams" in line and "\n" not in line


def test_published_name_with_a_download(monkeypatch, tmp_path):
    download = pytest.importorskip("paddlenlp.utils.download", reason="PaddleNLP downloads")
    name = "ernie-3.0-tiny-pico-v2-zh"
    config = efs.ErnieConfig.preset(name)
    model = efs.ErnieModel(config)
    model.save_pretrained(tmp_path)
    monkeypatch.setattr(
        download, "resolve_file_path", lambda *args, **kwargs: str(tmp_path / "model_state.pdparams")
    )
    again = efs.ErnieModel.from_pretrained(name)
    assert again.config == config and largest_difference(outputs(again), outputs(model)) == 0


class _Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, with an ETag as Paddle's storage gives it."""

    def end_headers(self):
        file = Path(self.translate_path(self.path))
        self.send_header("ETag", f'"{self.server.etag or hashlib.md5(file.read_bytes()).hexdigest()}"')
        super().end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    handler = functools.partial(_Server, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        httpd.etag = None
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd
        httpd.shutdown()


def test_a_download_is_compared_with_the_servers_checksum(server, monkeypatch, tmp_path):
    resources = pytest.importorskip(
        "paddlenlp.transformers.ernie.configuration", reason="PaddleNLP downloads"
    )
    pytest.importorskip("paddlenlp.utils.download")
    storage = sys.modules["paddlenlp.utils.download.bos_download"]
    monkeypatch.setattr(storage, "MODEL_HOME", str(tmp_path / "cache"))
    name = "ernie-3.0-tiny-pico-v2-zh"
    model = efs.ErnieModel(efs.ErnieConfig.preset(name))
    model.save_pretrained(tmp_path / "there")
    url = f"http://127.0.0.1:{server.server_address[1]}/there/model_state.pdparams"
    monkeypatch.setitem(resources.ERNIE_PRETRAINED_RESOURCE_FILES_MAP["model_state"], name, url)
    config, path = published.fetch(efs.ErnieConfig, name)
    assert path.read_bytes() == (tmp_path / "there" / "model_state.pdparams").read_bytes()
    assert path.with_name(path.name + ".md5").exists() and config == model.config

    path.with_name(path.name + ".md5").unlink()
    server.etag = "0" * 32
    with pytest.raises(UserError, match="damaged download.*try again"):
        published.check_download(path, url)
    assert not path.exists()
    assert published.server_md5("http://127.0.0.1:9/nothing") is None


def test_names_that_are_neither_folders_nor_published(monkeypatch):
    with pytest.raises(UserError, match="no such folder: runs/none"):
        published.fetch(efs.ErnieConfig, "runs/none")
    monkeypatch.setitem(sys.modules, "paddlenlp", None)
    monkeypatch.setitem(sys.modules, "paddlenlp.transformers.ernie.configuration", None)
    with pytest.raises(UserError, match=r"ernie_from_scratch\[paddlenlp\]"):
        efs.ErnieModel.from_pretrained("ernie-1.0-base-zh")
