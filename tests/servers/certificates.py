"""A certificate authority of the tests' own, made by openssl."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates in *folder*; ``cert`` is the file that clients are to trust."""

    def __init__(self, folder: Path, openssl: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._openssl = openssl
        self._own = self._make("ca", "basicConstraints=critical,CA:TRUE")
        self.cert = self._own.cert

    def sign(self, *names: str, before: Sequence[str] = ()) -> Certificate:
        """A certificate for *names*: ``IP:127.0.0.1``, ``DNS:localhost``.

        What stands *before* the command may tell it another time.
        """
        signer = ["-CA", str(self.cert), "-CAkey", str(self._own.key)]
        return self._make(self._next(), f"subjectAltName={','.join(names)}", *signer, before=before)

    def leave_unsigned(self, *names: str) -> Certificate:
        """A certificate that only its own key vouches for."""
        return self._make(self._next(), f"subjectAltName={','.join(names)}")

    def _next(self) -> str:
        return f"server{len(list(self._folder.iterdir()))}"

    def _make(
        self, name: str, extension: str, *signer: str, before: Sequence[str] = ()
    ) -> Certificate:
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
        files = ["-keyout", str(made.key), "-out", str(made.cert)]
        subject = ["-subj", f"/CN={name}", "-addext", extension, "-days", "2"]
        command = [*before, self._openssl, "req", "-x509", *key, *files, *subject, *signer]
        subprocess.run(command, check=True, capture_output=True)
        made.key.chmod(0o600)  # Samba refuses a key that others can read.
        return made
