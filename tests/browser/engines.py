"""Stock Firefox and WebKitGTK, which Playwright does not drive: both speak the W3C's WebDriver.

Firefox takes its commands at a socket of its own (Marionette), WebKitGTK has a driver with HTTP.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tests.servers import free_port, running

PATIENCE = 40
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # Source: W3C WebDriver, web element identifier.


class Refused(Exception):
    """What a driver answers in place of a result."""


class Engine(ABC):
    """One window. Whatever is looked for in it is waited for."""

    @abstractmethod
    def send(self, command: str, **parameters: Any) -> Any:
        """The driver's answer to a command of WebDriver.

        Raises:
            Refused: the page has no such thing now.
        """

    @abstractmethod
    def cookies(self) -> list[str]:
        """The names of the cookies that the site of the open page has."""

    def complaints(self) -> list[str]:
        """The errors on the console since the window was opened; WebKitGTK's driver tells none."""
        return []

    def open(self, url: str) -> None:
        self.send("Navigate", url=url)

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Look into the page's first frame during the block."""
        _wait(lambda: self.send("SwitchToFrame", id=0))
        yield
        self.send("SwitchToFrame", id=None)

    def find(self, xpath: str) -> None:
        """Wait for an element."""
        _wait(lambda: self._find(xpath))

    def find_at(self, url: str, xpath: str) -> None:
        """Open *url* again and again until the page has the element."""
        _wait(lambda: self.send("Navigate", url=url) or self._find(xpath))

    def see(self, heading: str) -> None:
        """Wait for the page with this main heading."""
        self.find(f"//h1[normalize-space() = '{heading}']")

    def has(self, xpath: str) -> bool:
        """Whether the page has such an element now."""
        return bool(self.send("FindElements", using="xpath", value=xpath))

    def value(self, xpath: str, name: str = "value") -> str:
        """A property of an element."""
        return str(_wait(lambda: self.send("GetElementProperty", id=self._find(xpath), name=name)))

    def fill(self, label: str, text: str) -> None:
        """Empty the field under *label* and type *text*."""
        _wait(
            lambda: self._type(f"//input[@id = //label[normalize-space() = '{label}']/@for]", text)
        )

    def press(self, words: str) -> None:
        """Click on what can be pressed and says *words*."""
        control = f"//*[self::a or self::button or self::summary][normalize-space() = '{words}']"
        _wait(lambda: self.send("ElementClick", id=self._find(control)))

    def _find(self, xpath: str) -> str:
        return str(self.send("FindElement", using="xpath", value=xpath)[ELEMENT])

    def _type(self, xpath: str, text: str) -> None:
        field = self._find(xpath)
        self.send("ElementClear", id=field)
        self.send("ElementClick", id=field)  # WebKit lets no script put the focus into a frame.
        self.send("ElementSendKeys", id=field, text=text)


class Firefox(Engine):
    """Started once; `opened` gives it a new window and forgets what was before."""

    def __init__(self, profile: Path) -> None:
        port = (profile / "MarionetteActivePort").read_text()
        self._socket = socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE)
        self._answers = self._socket.makefile("rb")
        self._read()
        self.send("NewSession")

    @classmethod
    @contextmanager
    def running(cls, program: str, profile: Path) -> Iterator[Firefox]:
        (profile / "user.js").write_text(
            'user_pref("marionette.port", 0);\nuser_pref("intl.accept_languages", "es-CO, es");\n'
        )
        # The last one lets the tests read the cookies of all sites and the console.
        flags = ["--headless", "--marionette", "--remote-allow-system-access"]
        active = profile / "MarionetteActivePort"
        home = ["env", f"HOME={profile}"]
        command = [*home, program, *flags, "--no-remote", "--profile", str(profile)]
        with running(
            command, profile / "log", lambda: active.exists() and active.stat().st_size > 0
        ):
            one = cls(profile)
            yield one
            one.close()

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    @contextmanager
    def opened(self, preferences: Mapping[str, bool | int]) -> Iterator[Engine]:
        self._privileged(
            "Services.cookies.removeAll(); Services.console.reset();"
            "const set = {number: 'setIntPref', boolean: 'setBoolPref'};"
            "for (const [name, value] of Object.entries(arguments[0]))"
            "  Services.prefs[set[typeof value]](name, value)",
            dict(preferences),
        )
        self.open("about:blank")
        try:
            yield self
        finally:
            self._privileged(
                "arguments[0].forEach(n => Services.prefs.clearUserPref(n))", [*preferences]
            )

    def send(self, command: str, **parameters: Any) -> Any:
        return self._call(f"WebDriver:{command}", parameters)

    def _call(self, command: str, parameters: Mapping[str, Any]) -> Any:
        message = json.dumps([0, 1, command, parameters])
        self._socket.sendall(f"{len(message)}:{message}".encode())
        _, _, error, result = self._read()
        if error:
            raise Refused(f"{command} {parameters}: {error['error']}: {error['message']}")
        return result.get("value", result) if isinstance(result, dict) else result

    def _read(self) -> Any:
        size = b"".join(iter(lambda: self._answers.read(1), b":"))
        return json.loads(self._answers.read(int(size)))

    def _privileged(self, script: str, *arguments: Any) -> Any:
        self._call("Marionette:SetContext", {"value": "chrome"})
        try:
            return self.send("ExecuteScript", script=script, args=arguments)
        finally:
            self._call("Marionette:SetContext", {"value": "content"})

    def cookies(self) -> list[str]:
        # Those of frames in other sites' pages, too.
        names = "return Services.cookies.cookies.map(cookie => `${cookie.host} ${cookie.name}`)"
        return [*self._privileged(names)]

    def complaints(self) -> list[str]:
        errors = (
            "return Services.console.getMessageArray()"
            ".filter(m => m instanceof Ci.nsIScriptError && !(m.flags & m.warningFlag)"
            "             && /^http/.test(m.sourceName))"
            ".map(m => m.message)"
        )
        return [*self._privileged(errors)]


class WebKit(Engine):
    """One session of WebKitGTK's driver: a fresh MiniBrowser."""

    ROUTES: Mapping[str, tuple[str, str]] = {
        "Navigate": ("POST", "url"),
        "SwitchToFrame": ("POST", "frame"),
        "FindElement": ("POST", "element"),
        "FindElements": ("POST", "elements"),
        "ElementClear": ("POST", "element/{id}/clear"),
        "ElementSendKeys": ("POST", "element/{id}/value"),
        "ElementClick": ("POST", "element/{id}/click"),
        "GetElementProperty": ("GET", "element/{id}/property/{name}"),
        "ExecuteScript": ("POST", "execute/sync"),
        "SetWindowRect": ("POST", "window/rect"),
        "GetCookies": ("GET", "cookie"),
    }

    def __init__(self, session: str) -> None:
        self._session = session

    @classmethod
    @contextmanager
    def opened(
        cls, program: str, display: str, folder: Path, flags: Sequence[str]
    ) -> Iterator[Engine]:
        # It asks for pages in the language of a locale that exists.
        (folder / "es_CO.UTF-8").symlink_to("/usr/lib/locale/C.utf8")
        spanish = [f"LOCPATH={folder}", "LC_ALL=es_CO.UTF-8"]
        environ = [f"DISPLAY={display}", f"HOME={folder}", *spanish]
        args = ["--automation", *flags]
        options = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": {"args": args}}}}
        for is_last in (False, False, True):
            driver = f"http://127.0.0.1:{free_port()}"
            command = ["env", *environ, program, f"--port={driver.rpartition(':')[2]}"]
            with running(command, folder / "log", partial(_answers, f"{driver}/status")):
                try:
                    made = _http("POST", f"{driver}/session", options)
                except TimeoutError:  # Now and then the browser hangs while it starts.
                    if is_last:
                        raise
                    continue
                session = f"{driver}/session/{made['sessionId']}"
                window = cls(session)
                # The driver clicks beside what a frame has below the window's edge.
                window.send("SetWindowRect", x=0, y=0, width=1280, height=1600)
                try:
                    yield window
                finally:
                    _http("DELETE", session)
                return

    def send(self, command: str, **parameters: Any) -> Any:
        method, path = self.ROUTES[command]
        body = parameters if method == "POST" else None
        return _http(method, f"{self._session}/{path.format(**parameters)}", body)

    def cookies(self) -> list[str]:
        return [cookie["name"] for cookie in self.send("GetCookies")]


def _answers(url: str) -> bool:
    with suppress(URLError):
        return bool(_http("GET", url))
    return False


def _http(method: str, url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = Request(url, data, headers, method=method)  # noqa: S310 - to our own driver
    try:
        with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            return json.load(answer)["value"]
    except HTTPError as error:
        raise Refused(f"{method} {url} {body}: {error.read().decode()}") from None


def _wait(look: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return look()
        except Refused:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


@contextmanager
def screen(program: str) -> Iterator[str]:
    """The name of a display that nobody looks at."""
    command = [program, "-displayfd", "1", "-screen", "0", "1280x1600x24", "-nolisten", "tcp"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        yield f":{server.stdout.readline().strip()}"
        server.terminate()
