"""A Debian of its own on this one's files: systemd runs it, and what it changes is forgotten."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import start
from tests.servers.service import until

# As in a container: this kernel's settings and devices are not this systemd's to change.
_BOOT = """
set -e
echo $$ >{cgroup}/cgroup.procs
exec unshare --pid --fork --kill-child --mount-proc --cgroup --uts --ipc --net sh -ec '
    mount --bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys
    mount -t sysfs sysfs /sys
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -o remount,bind,ro /sys
    mount -t tmpfs tmpfs {folder}
    for of in etc opt srv usr/local var; do
        mkdir -p {folder}/$of/new {folder}/$of/work
        mount -t overlay -o "lowerdir=/$of,upperdir={folder}/$of/new,workdir={folder}/$of/work" \\
            overlay /$of
    done
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /etc/systemd/system
    for of in /lib/systemd/system/sysinit.target.wants/* systemd-remount-fs.service; do
        ln -sf /dev/null /etc/systemd/system/${{of##*/}}
    done
    rm /etc/systemd/system/systemd-journald.service
    : >/etc/fstab
    printf "[Unit]\\n" >/etc/systemd/system/machine.target
    export container=test
    exec /lib/systemd/systemd --unit=machine.target
'
"""


class Machine:
    """Runs commands in the machine whose first process is *pid*."""

    def __init__(self, pid: int) -> None:
        self.proc = Path(f"/proc/{pid}")
        self.root = self.proc / "root"
        self._enter = ["nsenter", f"--target={pid}", "-m", "-n", "-p", "-u", "-i", "-C"]

    def run(self, *command: str, status: int | None = 0) -> str:
        """What *command* says; it must end with *status*, unless that is None."""
        done = subprocess.run(
            [*self._enter, *command], capture_output=True, text=True, check=False, timeout=900
        )
        said = done.stdout + done.stderr
        assert status in (None, done.returncode), f"{command}: {done.returncode}\n{said}"
        return said

    @contextmanager
    def network(self) -> Iterator[None]:
        """During the block this thread, and those that it starts, are in the machine's network."""
        libc = ctypes.CDLL(None, use_errno=True)
        own, others = Path("/proc/thread-self/ns/net"), self.proc / "ns/net"
        with own.open() as ours, others.open() as its:
            _enter(libc, its.fileno())
            try:
                yield
            finally:
                _enter(libc, ours.fileno())


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """A machine with loopback alone. Needs root, and may fail where root may not do everything.

    Raises:
        OSError: there is no cgroup of its own for it.
    """
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    hierarchy = next((mount[1] for mount in mounts if mount[2] == "cgroup2"), "/sys/fs/cgroup")
    cgroup = Path(tempfile.mkdtemp(prefix="machine-", dir=hierarchy))
    boot = _BOOT.format(folder=folder, cgroup=cgroup)
    try:
        outer = start(["unshare", "--mount", "sh", "-c", boot], folder / "log", lambda: True)
        try:
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
            until(children.read_text)
            machine = Machine(int(children.read_text()))
            until(lambda: "running" in machine.run("systemctl", "is-system-running", status=None))
            yield machine
        finally:
            outer.kill()
            outer.wait()
    finally:
        until(lambda: "populated 0" in (cgroup / "cgroup.events").read_text())
        below = sorted(cgroup.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
        for path in (*below, cgroup):
            path.rmdir()
