"""What a process gives back of the memory that it needed for a moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import leave_out

HASHING = """
from argon2 import PasswordHasher
from reset import arenas

def resident_mib():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

arenas.share()
before, hasher = resident_mib(), PasswordHasher(time_cost=1, memory_cost=19_456, parallelism=1)
for _ in range(3):
    hasher.hash("Frailejon-2026")
print(resident_mib() - before)
"""


def test_memory_of_a_hash_is_given_back() -> None:
    """A password of 19 MiB, as argon2 takes for one, leaves the process as small as it was."""
    if not Path("/proc/self/status").exists():
        leave_out("what a process gives back", "only Linux tells what is resident")
    said = subprocess.run(
        [sys.executable, "-c", HASHING],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert float(said.stdout) < 8
