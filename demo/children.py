"""Child processes that live and die together: start, wait until they answer, watch, end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

READY_SECONDS = 30.0
END_SECONDS = 5.0
POLL_SECONDS = 0.1
TAIL_LINES = 40


class Stopped(Exception):
    """Somebody asked the demo to end: Ctrl-C, SIGTERM, or the terminal was closed."""


class ChildFailed(Exception):
    """A child ended by itself or never answered; the text says which, and shows its output."""


@dataclass(frozen=True)
class Child:
    """One running process; *ready* tells whether it answers yet."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    ready: Callable[[], bool]

    def failed(self, what: str) -> ChildFailed:
        lines = self.log.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
        output = "\n".join(f"    {line}" for line in lines) or "    (no output)"
        return ChildFailed(f"{self.name} {what}. Its output ({self.log}):\n{output}")

    def signal_group(self, number: signal.Signals) -> None:
        # The group holds the grandchildren, too. It may be gone; macOS says then "not permitted".
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


class StopSwitch:
    """Notes the signals that ask to end; seen at each pause, never in the middle of a step."""

    def __init__(self) -> None:
        self.thrown = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._throw)

    def _throw(self, *_: object) -> None:
        self.thrown = True

    def pause(self) -> None:
        """Wait a moment.

        Raises:
            Stopped: a signal came, now or earlier.
        """
        if not self.thrown:
            time.sleep(POLL_SECONDS)
        if self.thrown:
            raise Stopped


class Crew:
    """All children of one run; their output goes to one file each in *logs*."""

    def __init__(self, root: Path, logs: Path, switch: StopSwitch) -> None:
        self.root = root
        self.logs = logs
        self.switch = switch
        self.children: list[Child] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        ready: Callable[[], bool] = lambda: True,
        typed: str = "",
    ) -> Child:
        """Start *command* in the project's folder, as the head of a session of its own.

        *typed* is all that it finds on its standard input.
        """
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 (The commands are our own, see run.py.)
                command,
                cwd=self.root,
                env=env,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = Child(name, process, log, ready)
        self.children.append(child)
        assert process.stdin is not None  # noqa: S101 - a pipe, see above
        with process.stdin as pipe, suppress(BrokenPipeError):
            pipe.write(typed.encode())
        return child

    def run_once(
        self, name: str, command: Sequence[str], env: Mapping[str, str], typed: str = ""
    ) -> None:
        """Run *command* to its end, with *typed* on its standard input.

        Raises:
            ChildFailed: it ended with an error.
            Stopped: a signal came meanwhile.
        """
        child = self.start(name, command, env, typed=typed)
        while child.process.poll() is None:
            self.switch.pause()
        self.children.remove(child)
        if child.process.returncode != 0:
            raise child.failed(f"ended with code {child.process.returncode}")

    def wait_ready(self) -> None:
        """Return once every child answers.

        Raises:
            ChildFailed: a child died, or did not answer in time.
            Stopped: a signal came meanwhile.
        """
        deadline = time.monotonic() + READY_SECONDS
        for child in self.children:
            while not child.ready():
                self.check()
                if time.monotonic() > deadline:
                    raise child.failed(f"did not answer within {READY_SECONDS:.0f} seconds")
                self.switch.pause()
        self.check()

    def watch(self) -> NoReturn:
        """Stay until a signal comes (``Stopped``) or a child dies (``ChildFailed``)."""
        while True:
            self.check()
            self.switch.pause()

    def check(self) -> None:
        for child in self.children:
            code = child.process.poll()
            if code is not None:
                raise child.failed(f"ended unexpectedly (code {code})")

    def end(self) -> None:
        """End all children and what they started; those that do not listen are killed."""
        for child in self.children:
            child.signal_group(signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        while any(child.process.poll() is None for child in self.children):
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS / 2)
        for child in self.children:
            child.signal_group(signal.SIGKILL)
            child.process.wait()
        self.children.clear()
