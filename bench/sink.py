"""An SMTP server that takes every mail, as fast or as slowly as it is told, and notes when.

`python -m bench.sink` is the server, `Sink` starts it: in a process of its own, so that its work
is nobody else's.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

_ROOT = Path(__file__).parents[1]
_SILENT = -1.0
_EHLO = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 10485760\r\n"
_REPLIES = {
    b"HELO": b"250 sink\r\n",
    b"EHLO": _EHLO,
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"DATA": b"354 End with <CR><LF>.<CR><LF>\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
_UNKNOWN = b"502 5.5.2 Command not recognised\r\n"
_TAKEN = b"250 2.0.0 Ok\r\n"
_LINK = re.compile(r"/nueva/(\S+)")


class Sink:
    """A running sink; ``port`` is where it listens.

    Args:
        folder: for its journal and the mails; both go when it ends.
        delay_ms: before each reply, also the greeting; None for a server that accepts the
            connection and never says a word.
        keep: whether the mails themselves are kept, for `mails`.
    """

    def __init__(self, folder: Path, *, delay_ms: float | None = 0, keep: bool = False) -> None:
        self._journal = folder / f"sink-{id(self):x}.txt"
        self._kept = folder / f"sink-{id(self):x}" if keep else None
        command = [
            *(sys.executable, "-m", "bench.sink", f"--journal={self._journal}"),
            f"--delay-ms={_SILENT if delay_ms is None else delay_ms}",
        ]
        if self._kept:
            self._kept.mkdir()
            command.append(f"--keep={self._kept}")
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=_ROOT, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None  # noqa: S101 - a pipe, see above
        self.port = int(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()
        self._journal.unlink()
        if self._kept:
            shutil.rmtree(self._kept)

    def arrivals(self) -> list[tuple[float, str]]:
        """When each mail was whole (`time.monotonic`) and for whom it was, in that order."""
        lines = self._journal.read_text().splitlines()
        return [(float(at), to) for at, _, to in (line.partition(" ") for line in lines)]

    def count(self) -> int:
        """How many mails came."""
        return self._journal.read_bytes().count(b"\n")

    def wait_for(self, mails: int, seconds: float) -> None:
        """Return once *mails* have come in all.

        Raises:
            TimeoutError: they did not within *seconds*.
        """
        until = time.monotonic() + seconds
        while self.count() < mails:
            if time.monotonic() > until:
                raise TimeoutError(f"{self.count()} of {mails} mails after {seconds} s")
            time.sleep(0.05)

    def mails(self) -> list[EmailMessage]:
        """The mails themselves, in no order; only of a sink that keeps them."""
        if self._kept is None:
            raise ValueError("this sink keeps no mails")
        files = (path.read_bytes() for path in self._kept.iterdir())
        return [message_from_bytes(raw, policy=policy.default) for raw in files]

    def tokens(self) -> dict[str, str]:
        """The token of the link that was mailed to each address; of a sink that keeps mails."""
        found = {}
        for mail in self.mails():
            text = mail.get_body(("plain",))
            link = _LINK.search(text.get_content()) if text else None
            if link:
                found[str(mail["To"])] = link[1]
        return found


class _Server:
    def __init__(self, delay_seconds: float, journal: BinaryIO, keep: Path | None) -> None:
        self._delay = delay_seconds
        self._journal = journal
        self._keep = keep

    def run(self) -> None:
        """Serve until the process is killed."""
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
            print(listener.getsockname()[1], flush=True)
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as lines, suppress(ConnectionError):
            if self._delay < 0:
                lines.read()  # Until the client gives up.
                return
            self._reply(connection, b"220 sink ESMTP\r\n")
            recipient = b""
            for line in lines:
                verb = line[:4].upper().rstrip()
                if verb == b"RCPT":
                    recipient = line[line.find(b"<") + 1 : line.rfind(b">")]
                self._reply(connection, _REPLIES.get(verb, _UNKNOWN))
                if verb == b"DATA":
                    self._take(lines, recipient)
                    self._reply(connection, _TAKEN)
                if verb == b"QUIT":
                    return

    def _reply(self, connection: socket.socket, reply: bytes) -> None:
        """Each one is waited for, also of commands that came together."""
        if self._delay:
            time.sleep(self._delay)
        connection.sendall(reply)

    def _take(self, lines: BinaryIO, recipient: bytes) -> None:
        mail = []
        for line in lines:
            if line == b".\r\n":
                break
            mail.append(line[1:] if line.startswith(b".") else line)
        at = time.monotonic()
        if self._keep:
            (self._keep / f"{at}-{threading.get_ident()}.eml").write_bytes(b"".join(mail))
        # One write of a file that is opened to append: two connections do not mix.
        self._journal.write(b"%.6f %s\n" % (at, recipient))


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.sink")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="-1: silent")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with options.journal.open("ab", buffering=0) as journal:
        _Server(options.delay_ms / 1000, journal, options.keep).run()


if __name__ == "__main__":
    main()
