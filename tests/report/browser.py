"""A headless Chromium over its debugging pipe: no driver, no port, and a record of every request and complaint."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import attrs

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_S = 30


_LAUNCHER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
"""Chromium reads its orders from descriptor 3 and answers on 4."""


def _high_pipe() -> tuple[int, int]:
    """A pipe whose ends are neither 3 nor 4."""
    ends = os.pipe()
    reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return reading, writing


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@attrs.define(eq=False)
class Browser:
    """One page. `requests` are the addresses it asked for, `complaints` what its console and its policy said."""

    program: str
    profile: Path
    requests: list[str] = attrs.field(factory=list)
    complaints: list[str] = attrs.field(factory=list)
    _process: subprocess.Popen[bytes] | None = None
    _to_browser: int = -1
    _from_browser: int = -1
    _received: bytes = b""
    _last_id: int = 0
    _session: str | None = None
    _is_loaded: bool = False

    def __enter__(self) -> Self:
        its_input, self._to_browser = _high_pipe()
        self._from_browser, its_output = _high_pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _LAUNCHER, str(its_input), str(its_output), self.program),
                *("--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *("--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", "--disable-component-update"),
                *("--disable-background-networking", f"--user-data-dir={self.profile}", "about:blank"),
            ],
            pass_fds=(its_input, its_output),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_input)
        os.close(its_output)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to_browser)
        os.close(self._from_browser)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol, and note the events that come before its answer."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next_message()
            if said.get("id") == self._last_id:
                assert "error" not in said, (method, said["error"])
                return dict(said["result"])
            self._note(said)

    def open(self, address: str) -> None:
        self.requests.clear()
        self.complaints.clear()
        self._is_loaded = False
        self.call("Page.navigate", url=address)
        while not self._is_loaded:
            self._note(self._next_message())

    def value(self, expression: str) -> Any:
        said = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def press(self, key: str, *, times: int = 1) -> None:
        codes = {"ArrowRight": 39, "ArrowLeft": 37, "Tab": 9}
        for _ in range(times):
            for kind in ("rawKeyDown", "keyUp"):
                fields = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
                self.call("Input.dispatchKeyEvent", type=kind, **fields)

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        for kind, (x, y) in (("mousePressed", begin), ("mouseMoved", end), ("mouseReleased", end)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def emulate(self, *, width: int, height: int, is_dark: bool = False, media: str = "") -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def screenshot(self, path: Path, *, is_whole: bool = False) -> None:
        said = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        path.write_bytes(base64.b64decode(said["data"]))

    def _next_message(self) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT_S
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._from_browser], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._from_browser, 1 << 20) if ready else b""
            assert chunk, "Chromium says nothing any more"
            self._received += chunk
        message, _, self._received = self._received.partition(b"\0")
        return dict(json.loads(message))

    def _note(self, said: dict[str, Any]) -> None:
        fields = said.get("params", {})
        match said.get("method"):
            case "Page.loadEventFired":
                self._is_loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(fields["request"]["url"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(fields))
            case "Log.entryAdded":
                self.complaints.append(fields["entry"]["text"])
