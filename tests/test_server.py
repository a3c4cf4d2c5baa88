"""The server over real sockets: answers, errors, concurrent clients, and shutdown."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from deployment_helpers import write_model
from process_helpers import HANG_SECONDS, wait_until

import ernie_from_scratch as efs
from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import UserError
from ernie_from_scratch.deployment.server.app import MAX_BODY, listen

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from ernie_from_scratch.deployment.server.requests import MAX_CHARACTERS, MAX_TEXTS  # noqa: E402


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    write_model(root / "classifier", "text-classification", id2label={0: "差评", 1: "好评"})
    write_model(root / "filler", "pretraining")
    return root


# `ernie serve` that gives no answer while the file in its first argument exists
HELD_BACK = """
import os, sys, time
from ernie_from_scratch.commands.main import main
from ernie_from_scratch.deployment.pipelines.fill_mask import FillMaskPipeline
from ernie_from_scratch.deployment.server import app
predict, hold = FillMaskPipeline.predict, sys.argv.pop(1)
def held_back(*args, **options):
    while os.path.exists(hold):
        time.sleep(0.01)
    return predict(*args, **options)
FillMaskPipeline.predict, app.SHUTDOWN_SECONDS = held_back, 3600
sys.exit(main())
"""


@contextmanager
def running(model, *flags, program=("-m", "ernie_from_scratch")):
    """`ernie serve` as a process: (address, process); killed at the end if it is still running."""
    command = [
        sys.executable,
        *program,
        "serve",
        "--model",
        str(model),
        "--port",
        "0",
        *flags,
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        line = process.stdout.readline()
        found = re.match(r"ready at (http://127\.0\.0\.1:\d+) ", line)
        assert found, line + process.stderr.read()
        yield found[1], process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def post(address, body, path="/predict"):
    """(status, answer) of a POST; `body` is bytes, or a value that is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address + path, data=data), timeout=HANG_SECONDS
        ) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def connects(address):
    """Whether somebody listens there."""
    host, port = address.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=HANG_SECONDS).close()
    except ConnectionError:
        return False
    return True


def get(address, path):
    with urllib.request.urlopen(address + path, timeout=HANG_SECONDS) as response:
        return response.headers, response.read().decode()


@pytest.fixture(scope="module")
def classifier(folders):
    with running(folders / "classifier") as (address, _):
        yield address


@pytest.fixture(scope="module")
def filler(folders):
    with running(folders / "filler") as (address, _):
        yield address


def test_health_and_page(classifier):
    about = json.loads(get(classifier, "/health")[1])
    assert (
        about["status"] == "ok"
        and about["task"] == "text-classification"
        and about["labels"] == ["差评", "好评"]
    )
    assert about["model"] == "classifier" and about["backend"] == "paddle"
    assert about["fields"] == ["text", "text_pair"] and about["strategies"] == [] and about["example"]
    headers, page = get(classifier, "/")
    assert headers["content-type"].startswith("text/html") and "textarea" in page
    assert not re.search(r"""(src|href)\s*=\s*["'](https?:)?//""", page), (
        "the page must not load anything from other servers"
    )
    assert "default-src 'none'" in headers["content-security-policy"]


def test_answers_are_those_of_the_pipeline(folders, classifier):
    pipe = efs.pipeline(model=folders / "classifier")
    texts = ["我的车很好。", "一二三", "他的菜很丑，书很美。"]
    status, answer = post(classifier, {"text": texts})
    assert status == 200 and answer["task"] == "text-classification" and answer["milliseconds"] > 0
    for found, expected in zip(answer["predictions"], pipe(texts, top_k=None), strict=True):
        assert [entry["label"] for entry in found] == [entry["label"] for entry in expected]
        assert [entry["score"] for entry in found] == pytest.approx(
            [entry["score"] for entry in expected], rel=1e-4
        )
    assert post(classifier, {"text": texts[0]})[1]["predictions"][0][0]["label"] == pipe(texts[0])["label"]
    pair = post(classifier, {"text": "书", "text_pair": "菜"})[1]["predictions"][0]
    assert pair[0]["score"] == pytest.approx(pipe(("书", "菜"))["score"], rel=1e-4)


def test_fillings(folders, filler):
    status, answer = post(filler, {"text": "[MASK][MASK]是我的车", "top_k": 3, "strategy": "most_confident"})
    expected = efs.pipeline(model=folders / "filler")(
        "[MASK][MASK]是我的车", top_k=3, strategy="most_confident"
    )
    assert status == 200
    assert [entry["sequence"] for entry in answer["predictions"][0]] == [
        entry["sequence"] for entry in expected
    ]


@pytest.mark.parametrize("body, status, message", [
    (b"{", 422, "JSON"),
    (b"\xff\xfe", 422, "JSON"),
    (b"", 422, "JSON"),
    ([1], 422, "object"),
    ({}, 422, "text: Field required"),
    ({"text": ""}, 422, "at least 1 character"),
    ({"text": "  "}, 422, "empty"),
    ({"text": []}, 422, "at least 1 item"),
    ({"text": 7}, 422, "text"),
    ({"text": ["a", None]}, 422, "text.1"),
    ({"text": "a" * (MAX_CHARACTERS + 1)}, 422, f"{MAX_CHARACTERS}"),
    ({"text": ["a"] * (MAX_TEXTS + 1)}, 422, f"{MAX_TEXTS}"),
    ({"text": "a", "txt": "b"}, 422, "txt"),
    ({"text": ["a", "b"], "text_pair": "c"}, 422, "2 texts, but 1 in text_pair"),
    (b'{"text": "' + b"a" * MAX_BODY + b'"}', 413, "larger than"),
])  # fmt: skip
def test_invalid_requests_are_one_line_errors(classifier, body, status, message):
    found, answer = post(classifier, body)
    assert (
        found == status
        and list(answer) == ["error"]
        and message in answer["error"]
        and "\n" not in answer["error"]
    )
    assert post(classifier, {"text": "车"})[0] == 200  # and the server is still running


@pytest.mark.parametrize("body, status, message", [
    ({"text": "没有"}, 422, "[MASK]"),
    ({"text": "[MASK]", "top_k": 0}, 422, "top_k"),
    ({"text": "[MASK]", "top_k": 51}, 422, "top_k"),
    ({"text": "[MASK]", "top_k": "3"}, 422, "top_k"),
    ({"text": "[MASK]", "strategy": "best"}, 422, "left_to_right"),
    ({"text": "车" * 100 + "[MASK]"}, 400, "beyond 64 tokens"),
])  # fmt: skip
def test_invalid_requests_of_fill_mask(filler, body, status, message):
    found, answer = post(filler, body)
    assert found == status and message in answer["error"]


def test_unknown_paths_and_methods(classifier):
    assert post(classifier, {}, "/nothing")[0] == 404
    with pytest.raises(urllib.error.HTTPError, match="405"):
        get(classifier, "/predict")


def test_concurrent_clients_get_their_own_answers(folders, classifier):
    texts = ["车" * n + "好" for n in range(1, 41)]
    expected = efs.pipeline(model=folders / "classifier")(texts)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda text: post(classifier, {"text": text}), texts))
    for (status, answer), one in zip(answers, expected, strict=True):
        assert status == 200 and answer["predictions"][0][0]["label"] == one["label"]
        assert answer["predictions"][0][0]["score"] == pytest.approx(one["score"], rel=1e-4)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_after_pending_answers(folders, tmp_path, number):
    hold = tmp_path / "hold"
    with running(folders / "filler", program=("-c", HELD_BACK, str(hold))) as (address, process):
        hold.touch()
        body = {"text": ["[MASK]车"] * MAX_TEXTS}
        found = []
        worker = threading.Thread(target=lambda: found.append(post(address, body)))
        worker.start()
        wait_until(lambda: json.loads(get(address, "/health")[1])["under_way"])
        process.send_signal(number)
        wait_until(lambda: not connects(address))  # it stops to accept requests
        assert worker.is_alive()
        hold.unlink()
        worker.join(HANG_SECONDS)
        assert process.wait(HANG_SECONDS) == 0
        assert found[0][0] == 200 and len(found[0][1]["predictions"]) == MAX_TEXTS
        with pytest.raises(OSError):
            post(address, {"text": "[MASK]"})


def test_a_port_in_use_is_one_line_and_exit_code_2(folders, classifier):
    port = classifier.rsplit(":", 1)[1]
    command = [
        sys.executable,
        "-m",
        "ernie_from_scratch",
        "serve",
        "--model",
        str(folders / "filler"),
        "--port",
        port,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS)
    lines = [line for line in done.stderr.splitlines() if "arn" not in line]
    assert done.returncode == 2 and done.stdout == ""
    assert lines[-1].startswith(f"error: cannot listen on 127.0.0.1:{port}: ") and "in use" in lines[-1]
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize("flags, message", [
    (["--model", "missing", "--port", "0"], "no such model folder"),
    (["--model", "{}", "--port", "70000"], "65535"),
    (["--model", "{}", "--host", "no.such.host.invalid"], "cannot listen"),
    (["--model", "{}", "--port", "0", "--backend", "openvino"], "ernie export"),
    (["--port", "0"], "--model"),
])  # fmt: skip
def test_errors_of_serve(folders, capsys, flags, message):
    assert main(["serve", *(flag.format(folders / "classifier") for flag in flags)]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("error: ") and message in error[-1]


def test_port_zero_takes_free_ones():
    with listen("127.0.0.1", 0) as one, listen("127.0.0.1", 0) as two:
        ports = {s.getsockname()[1] for s in (one, two)}
        assert len(ports) == 2 and 0 not in ports
        with pytest.raises(UserError, match="in use"):
            listen("127.0.0.1", ports.pop())


def test_sockets_are_closed_after_an_error(folders):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for _ in range(2):  # the second call would say "in use" if the first had left its socket open
        assert main(["serve", "--model", "missing", "--port", str(port)]) == 2
    listen("127.0.0.1", port).close()
