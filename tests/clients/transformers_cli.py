"""Python's `transformers chat` against a server of ours, and our `transformers chat` against Python's `transformers serve`.

    python transformers_cli.py http://127.0.0.1:8000 MODEL FOLDER BINARY

MODEL is served at the address; FOLDER has the same model as Python reads it; BINARY is our `transformers`. Exits with 1 and
says what failed, if anything did. Needs `transformers[serving]`.
"""

import os
import socket
import subprocess
import sys
import time
import traceback
import urllib.request

URL, MODEL, FOLDER, BINARY = sys.argv[1:]
THEIRS = [sys.executable, "-B", "-c", "from transformers.cli.transformers import main; main()"]
ENVIRONMENT = {**os.environ, "COLUMNS": "200"}
# Their chat counts our address as the hub's; their server needs no hub.
ENVIRONMENT.pop("HF_HUB_OFFLINE", None)
QUESTION = "What is the capital of France?"
GREEDY = ["do_sample=False", "max_new_tokens=40"]


def said(command, typed):
    done = subprocess.run(command, input=typed, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def their_chat():
    text = said([*THEIRS, "chat", MODEL, f"{URL}/v1", *GREEDY], f"{QUESTION}\n!status\n!exit\n")
    assert "Paris" in text, text
    assert "max_new_tokens" in text, text


class TheirServer:
    """Python's server at a free port."""

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [*THEIRS, "serve", FOLDER, "--port", str(port), "--host", "127.0.0.1", "--device", "cpu"]
        self.process = subprocess.Popen(command, env={**ENVIRONMENT, "HF_HUB_OFFLINE": "1"})
        for _ in range(600):
            assert self.process.poll() is None, "their server did not start"
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return self
            except OSError:
                time.sleep(0.5)
        raise AssertionError("their server does not answer")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def our_chat():
    with TheirServer() as server:
        text = said([BINARY, "chat", FOLDER, server.url, *GREEDY], f"{QUESTION}\n!status\n")
        assert "Paris" in text and "messages: 2" in text, text
        short = said([BINARY, "chat", FOLDER, f"{server.url}/v1", "do_sample=false", "max_new_tokens=3"], f"{QUESTION}\n")
        assert short.strip() and len(short) < len(text), short


def main():
    failed = 0
    for check in [their_chat, our_chat]:
        try:
            check()
            print(f"ok      {check.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED  {check.__name__}")
            traceback.print_exc()
    sys.exit(failed > 0)


main()
