#!/usr/bin/env python3
"""A headless Chromium driven over its DevTools pipe, with nothing but Python's standard library.

    browser.py PAGE.html PICTURE.png [--section depth] [--height 900] [--dark]

takes a picture of a report, 1280 px wide.
"""
import argparse
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time


def find_browser():
    """Path of Chromium, or None."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        path = shutil.which(name)
        if path:
            return path
    return None


class Browser:
    """One page. Everything that the console, the page or the network layer complains about is in `faults`."""

    def __init__(self, width=1280, height=900):
        self._profile = tempfile.mkdtemp(prefix="plumb-browser-")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()

        def give_pipes():  # Chromium reads descriptor 3 and writes descriptor 4
            os.dup2(to_browser, 63)
            os.dup2(from_browser, 64)
            os.dup2(63, 3)
            os.dup2(64, 4)

        self._process = subprocess.Popen(
            [find_browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--no-first-run", "--disable-dev-shm-usage", f"--user-data-dir={self._profile}",
             f"--window-size={width},{height}", "about:blank"],
            preexec_fn=give_pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._next = 0
        self._session = None
        self.faults = []
        self.requests = []
        self._loaded = False
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._session = None
            self._call("Browser.close")
        except (EOFError, OSError):
            pass
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _message(self):
        while b"\0" not in self._buffer:
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise EOFError("the browser has ended")
            self._buffer += piece
        text, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(text)

    def _note(self, message):
        method, values = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.faults.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            words = [str(entry.get("value", entry.get("description"))) for entry in values["args"]]
            self.faults.append(" ".join(words))
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.faults.append(values["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True

    def _call(self, method, **values):
        self._next += 1
        command = {"id": self._next, "method": method, "params": values}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._next:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._note(message)

    def resize(self, width, height):
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                   mobile=False)

    def set_dark(self, dark):
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", features=scheme)

    def open(self, url):
        """Returns when the page has loaded; faults and requests start anew."""
        self.faults, self.requests, self._loaded = [], [], False
        self._call("Page.navigate", url=url)
        while not self._loaded:
            self._note(self._message())

    def value(self, expression):
        """The value of a JavaScript expression; a promise is waited for."""
        result = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"].get("exception", {}).get("description", expression))
        return result["result"].get("value")

    def press(self, key, code=0):
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, x, y, width, height):
        """PNG bytes of a part of the page; equal parts give equal bytes."""
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        return base64.b64decode(self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                                           clip=clip)["data"])

    def window(self):
        """PNG bytes of what the window shows."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def wait_until_drawn(self):
        """How the drawing of a report ended: drawn or failed."""
        while True:
            state = self.value("document.documentElement.dataset.state || ''")
            if state:
                return state
            time.sleep(0.1)

    def print_pdf(self, path):
        data = self._call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("page")
    parser.add_argument("picture")
    parser.add_argument("--section", default="")
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    with Browser(1280, options.height) as browser:
        browser.set_dark(options.dark)
        browser.open("file://" + os.path.abspath(options.page))
        print(browser.wait_until_drawn(), *browser.faults)
        if options.section:
            browser.value(f"document.getElementById('{options.section}').scrollIntoView()")
            time.sleep(0.5)
        with open(options.picture, "wb") as file:
            file.write(browser.window())


if __name__ == "__main__":
    main()
