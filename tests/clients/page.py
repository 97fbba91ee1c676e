"""The page at `/` in headless Chromium, driven by WebDriver.

    python page.py http://127.0.0.1:8000 CHROMIUM CHROMEDRIVER [FOLDER]

The server has a small chat model such as SmolLM2-135M-Instruct. With FOLDER, pictures of the page are kept in it. Exits with
1 and says what failed, if anything did. Needs nothing beside Python.
"""

import base64
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path

URL, CHROMIUM, CHROMEDRIVER = sys.argv[1:4]
PICTURES = Path(sys.argv[4]) if len(sys.argv) > 4 else None
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1100,800",
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ENTER = "\ue007"


class Browser:
    """A session of WebDriver."""

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.driver = subprocess.Popen([CHROMEDRIVER, f"--port={port}"], stdout=subprocess.DEVNULL)
        self.at = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                self.send("GET", "/status")
                break
            except OSError:
                time.sleep(0.1)
        options = {"binary": CHROMIUM, "args": [*ARGUMENTS, f"--user-data-dir={self.folder.name}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.at += "/session/" + self.send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            self.send("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()
            self.folder.cleanup()

    def send(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.at + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from None

    def run(self, script, *arguments):
        return self.send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def element(self, selector):
        return self.send("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.send("POST", f"/element/{self.element(selector)}/click", {})

    def type(self, selector, keys):
        self.send("POST", f"/element/{self.element(selector)}/value", {"text": keys})

    def hover(self, selector):
        move = {"type": "pointerMove", "duration": 50, "x": 0, "y": 0, "origin": {ELEMENT: self.element(selector)}}
        pointer = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [move]}
        self.send("POST", "/actions", {"actions": [pointer]})

    def wait_for(self, condition, seconds=120):
        """Until a JavaScript expression is true; gives its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(f"return {condition}")
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"it never is: {condition}\n{self.run('return document.body.innerText')}")

    def picture(self, name):
        if PICTURES:
            PICTURES.mkdir(parents=True, exist_ok=True)
            (PICTURES / f"{name}.png").write_bytes(base64.b64decode(self.send("GET", "/screenshot")))


LAST = "[...document.querySelectorAll('.assistant')].at(-1)"
IDLE = "!document.getElementById('send').hidden"


def open_page(browser, settings=None):
    browser.send("POST", "/url", {"url": URL})
    browser.run("localStorage.clear(); if (arguments[0]) localStorage.setItem('settings', arguments[0]);", json.dumps(settings))
    browser.send("POST", "/refresh", {})
    browser.wait_for("document.getElementById('model').value")


def ask(browser, text):
    browser.type("#text", text + ENTER)


def the_page_begins(browser):
    open_page(browser)
    browser.picture("begin")
    assert browser.run("return document.activeElement.id") == "text"
    origins = browser.run("return performance.getEntriesByType('resource').map(entry => new URL(entry.name).origin)")
    assert set(origins) == {URL}, origins


def an_answer_streams(browser):
    open_page(browser, {"temperature": "0", "max_tokens": "60"})
    ask(browser, "What is the capital of France? Explain at length.")
    seen = set()
    while not browser.run(f"return {IDLE}"):
        seen.add(browser.run(f"return {LAST}?.querySelectorAll('.token').length ?? 0"))
    assert len(seen) > 3, f"it did not come bit by bit: {seen}"
    assert "Paris" in browser.run(f"return {LAST}.innerText")
    stats = browser.run(f"return {LAST}.querySelector('.stats').textContent")
    assert re.search(r"^\d+ tokens · [\d.]+ tokens/s · first after [\d.]+ s$", stats), stats
    browser.picture("answer")


def probabilities_are_shown(browser):
    open_page(browser, {"temperature": "0", "max_tokens": "20"})
    ask(browser, "What is the capital of France?")
    browser.wait_for(f"{IDLE} && {LAST}?.querySelector('.token')")
    assert browser.run("return document.getElementById('card').hidden")
    browser.hover(".assistant .token:nth-child(3)")
    browser.wait_for("!document.getElementById('card').hidden", 10)
    rows = browser.run("return [...document.querySelectorAll('#card div')].map(row => row.innerText)")
    assert len(rows) >= 5 and all(re.search(r"[\d.]+ %$", row) for row in rows), rows
    parts = [float(row.split()[-2]) for row in rows]
    assert parts == sorted(parts, reverse=True) and 0 < sum(parts) < 100.5, rows
    browser.picture("probabilities")
    browser.hover("header h1")
    browser.wait_for("document.getElementById('card').hidden", 10)


def an_answer_is_stopped(browser):
    open_page(browser, {"max_tokens": "1000"})
    ask(browser, "Write a long story about a lighthouse, with many chapters.")
    browser.wait_for(f"{LAST}?.querySelectorAll('.token').length > 5")
    browser.click("#stop")
    browser.wait_for(IDLE, 10)
    stats = browser.run(f"return {LAST}.querySelector('.stats').textContent")
    assert stats.endswith("stopped"), stats
    length = browser.run(f"return {LAST}.innerText.length")
    time.sleep(0.5)
    assert browser.run(f"return {LAST}.innerText.length") == length
    browser.click("#clear")
    assert browser.run("return document.querySelectorAll('article').length") == 0


def settings_count_and_are_kept(browser):
    open_page(browser)
    browser.click("#open")
    browser.type("#max_tokens", "3")
    browser.type("#temperature", "0")
    browser.type("#system", "You are a poet.")
    browser.click("#logprobs")
    browser.picture("settings")
    browser.click("#close")
    ask(browser, "Tell me of the sea.")
    stats = browser.wait_for(f"{IDLE} && {LAST}?.querySelector('.stats').textContent")
    assert stats.startswith("3 tokens"), stats
    assert not browser.run(f"return {LAST}.querySelector('.token').logprobs")
    browser.send("POST", "/refresh", {})
    browser.wait_for("document.getElementById('model').value")
    kept = browser.run("return ['max_tokens', 'temperature', 'system'].map(id => document.getElementById(id).value)")
    assert kept == ["3", "0", "You are a poet."], kept
    sent = json.loads(browser.run("return body()"))
    assert sent["messages"] == [{"role": "system", "content": "You are a poet."}] and "logprobs" not in sent, sent


def a_refusal_is_told(browser):
    open_page(browser, {"temperature": "9"})
    ask(browser, "Hello")
    said = browser.wait_for("document.querySelector('.error')?.textContent")
    assert "temperature" in said, said


def markdown_is_shown(browser):
    open_page(browser)
    text = "# Head\nOne **strong** and `code`.\n\n1. a\n2. *b*\n\n```rust\nlet x = 1;\n```\nEnd < & >"
    html = browser.run(
        "const made = document.createElement('div'); let at = 0;"
        "const pieces = [...arguments[0]].map(text => ({text, begin: at, end: at += text.length}));"
        "markdown(made, pieces);"
        "for (const token of made.querySelectorAll('.token')) token.replaceWith(token.textContent);"
        "return made.innerHTML",
        text,
    )
    assert html == (
        "<h3>Head</h3><p>One <strong>strong</strong> and <code>code</code>.</p><ol start=\"1\"><li>a</li><li><em>b</em></li></ol>"
        "<pre><code>let x = 1;\n</code></pre><p>End &lt; &amp; &gt;</p>"
    ), html


def nothing_went_wrong(browser):
    said = [entry["message"] for entry in browser.send("POST", "/se/log", {"type": "browser"})]
    # Refusals that a check asked for.
    assert all("422" in message for message in said), said


def main():
    checks = [
        the_page_begins, an_answer_streams, probabilities_are_shown, an_answer_is_stopped, settings_count_and_are_kept,
        a_refusal_is_told, markdown_is_shown, nothing_went_wrong,
    ]
    failed = 0
    with Browser() as browser:
        for check in checks:
            try:
                check(browser)
                print(f"ok      {check.__name__}")
            except Exception:
                failed += 1
                print(f"FAILED  {check.__name__}")
                traceback.print_exc()
    print(f"the page in Chromium: {len(checks) - failed} of {len(checks)}")
    sys.exit(failed > 0)


main()
