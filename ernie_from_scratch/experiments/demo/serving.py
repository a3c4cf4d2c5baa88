"""Stages "export" and "serve": the fine-tuned model as a graph, and its answers over HTTP."""

import json
import subprocess
import sys
import urllib.request

from ernie_from_scratch.config import UserError

READY_SECONDS = 60
REVIEWS = (
    "房间干净，服务也很周到，下次还会再来。",
    "等了半天没人理，菜也凉了，再也不来了。",
    "情节紧凑，演员的表演让人难忘。",
)


class Server:
    """`ernie serve` on a free port, as a context manager; `url` is known once it is ready."""

    def __init__(self, model):
        command = [sys.executable, "-m", "ernie_from_scratch", "serve", "--model", str(model), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if "http://" not in line:
            self.process.kill()
            raise UserError(f"the server did not start: {self.process.stderr.read().strip()[-300:]}")
        self.url = "http://" + line.split("http://", 1)[1].split()[0].rstrip("/")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.terminate()
        self.process.wait(timeout=READY_SECONDS)

    def ask(self, text):
        """The JSON answer to one text."""
        request = urllib.request.Request(
            f"{self.url}/predict", json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=READY_SECONDS) as answer:
            return json.load(answer)


def serve_and_ask(model):
    """Stage "serve": start the server, ask it for the sentiment of a few reviews, stop it."""
    with Server(model) as server:
        answers = [{"text": text, "answer": server.ask(text)} for text in REVIEWS]
        url = server.url
    code = server.process.returncode
    return {
        "url": url,
        "answers": answers,
        "exit_code": code,
        "said": f"asked {len(answers)} reviews at {url}, stopped",
    }
