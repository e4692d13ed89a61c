"""Drive a headless Chromium over its debugging pipe (file descriptors 3 and 4, JSON ended by NUL): no driver, no port, no
further package."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

import support


def find():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    support.skip("no chromium here (Debian: apt install chromium); THE PAGE WAS NOT TESTED IN A BROWSER")


class Browser:
    """One page. errors collects uncaught exceptions and console errors, requests every URL that was asked for."""

    def __init__(self, width=1280, height=900, dark=False):
        self.profile = tempfile.TemporaryDirectory(prefix="wsp-chromium-", ignore_cleanup_errors=True)  # its helpers end a moment later
        to_read, self.out = os.pipe()
        self.inp, to_write = os.pipe()

        def descriptors():
            os.dup2(to_read, 3)
            os.dup2(to_write, 4)

        # dup2 onto 3 and 4 could hit the pipes themselves: move them up first.
        to_read, to_write = (os.dup(to_read) if to_read < 10 else to_read), (os.dup(to_write) if to_write < 10 else to_write)
        while min(to_read, to_write) < 10:
            to_read, to_write = os.dup(to_read), os.dup(to_write)
        self.process = subprocess.Popen(
            [find(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
             "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}", "about:blank"],
            close_fds=False, preexec_fn=descriptors, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.buffer, self.number = b"", 0
        self.errors, self.requests, self.session = [], [], None
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.inp)
        self.profile.cleanup()

    def message(self, deadline):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.inp], [], [], max(0, deadline - time.monotonic()))
            support.check(ready, "Chromium does not answer")
            part = os.read(self.inp, 1 << 20)
            support.check(part, "Chromium ended")
            self.buffer += part
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def note(self, message):
        method, p = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(p["exceptionDetails"].get("exception", {}).get("description") or p["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in p["args"]))
        elif method == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
            self.errors.append(p["entry"]["text"] + " " + p["entry"].get("url", ""))
        elif method == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])

    def call(self, method, timeout=60, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data):]
        deadline = time.monotonic() + timeout
        while True:
            reply = self.message(deadline)
            if reply.get("id") == self.number:
                support.check("error" not in reply, f"{method}: {reply.get('error')}")
                return reply["result"]
            self.note(reply)

    def evaluate(self, expression):
        r = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        support.check("exceptionDetails" not in r, f"{expression[:80]}: {r.get('exceptionDetails', {}).get('exception', {}).get('description')}")
        return r["result"].get("value")

    def open(self, path, fragment=""):
        """Seconds until the page has drawn everything."""
        began = time.monotonic()
        self.number += 1  # by which addresses differ: where only the fragment does, nothing would be loaded
        self.call("Page.navigate", url=f"file://{path}?{self.number}{fragment}" if fragment else f"file://{path}")
        while self.evaluate("document.body && document.body.dataset.ready") != "yes":
            support.check(time.monotonic() - began < 60, f"the page never became ready: {self.errors}")
            time.sleep(0.02)
        self.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
        return time.monotonic() - began

    def wait(self, condition, timeout=60):
        began = time.monotonic()
        while not self.evaluate(condition):
            support.check(time.monotonic() - began < timeout, f"never: {condition}")
            time.sleep(0.02)

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def key(self, key, code=0, text=""):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text=text if kind == "keyDown" else "")

    def mouse(self, kind, x, y, **more):
        """Pressed, Moved, Released or Wheel, at CSS pixels of the viewport."""
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **more)

    def drag(self, x, y, dx, dy):
        self.mouse("Pressed", x, y, button="left", buttons=1, clickCount=1)
        for part in (0.5, 1):
            if dx or dy:
                self.mouse("Moved", x + part * dx, y + part * dy, button="left", buttons=1)
        self.mouse("Released", x + dx, y + dy, button="left", clickCount=1)

    def swipe(self, points, dx, dy):
        """Fingers that start at `points` and move together."""
        at = lambda part: [{"x": x + part * dx, "y": y + part * dy, "id": i} for i, (x, y) in enumerate(points)]
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=at(0))
        for part in (0.25, 0.5, 0.75, 1):
            self.call("Input.dispatchTouchEvent", type="touchMove", touchPoints=at(part))
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def screenshot(self, path, full=False):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(data["data"]))
