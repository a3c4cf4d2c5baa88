"""Stage "serve": the exported model answers over HTTP."""

import json
import os
import subprocess
import sys
import urllib.request

from ernie_from_scratch.config import UserError

TIMEOUT_SECONDS = 60
REVIEWS = (
    "房间干净，服务也很周到，下次还会再来。",
    "等了半天没人理，菜也凉了，再也不来了。",
    "情节紧凑，演员的表演让人难忘。",
)


class Server:
    """`ernie serve` on a free port of this machine, as a context manager.

    Attributes:
        url: where it listens.
        process: the server's process.

    Raises:
        UserError: the server did not start.
    """

    def __init__(self, model: str | os.PathLike):
        command = [sys.executable, "-m", "ernie_from_scratch", "serve", "--model", str(model), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stderr  # pipes
        line = self.process.stdout.readline()  # printed when it is ready
        if "http://" not in line:
            self.process.kill()
            raise UserError(f"the server did not start: {self.process.stderr.read().strip()[-300:]}")
        self.url = "http://" + line.split("http://", 1)[1].split()[0].rstrip("/")

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=TIMEOUT_SECONDS)

    def predict(self, text: str | list[str]) -> dict:
        """The server's JSON answer to a text or a list of texts."""
        request = urllib.request.Request(
            f"{self.url}/predict", json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)


def serve_reviews(model: str | os.PathLike) -> dict:
    """Start the server, request the sentiment of a few reviews, and stop the server."""
    with Server(model) as server:
        answers = [{"text": text, "answer": server.predict(text)} for text in REVIEWS]
    return {
        "url": server.url,
        "answers": answers,
        "exit_code": server.process.returncode,
        "summary": f"answered {len(answers)} reviews at {server.url}, stopped",
    }
