"""Deadlines: whoever waits for the other side is set free in time, and nobody else is."""

from __future__ import annotations

import socket

from reset.mail.deadline import Deadline

LONG = 60


def test_short_deadline_does_not_wait_for_a_long_one() -> None:
    """Each dialogue has its own, whichever began first."""
    with Deadline(LONG):
        for _ in range(2):  # After the first, all that watches sleeps until the long one.
            short = Deadline(0.05)
            ours, theirs = socket.socketpair()
            with ours, theirs, short:
                ours.settimeout(LONG / 6)
                short.watch(ours)
                assert ours.recv(1) == b""


def test_deadline_that_is_over_cuts_nothing() -> None:
    """A connection is kept from one mail to the next: an old deadline must not end it."""
    first, second = Deadline(0.05), Deadline(0.1)
    (kept, other), (cut, another) = socket.socketpair(), socket.socketpair()
    with kept, other, cut, another:
        first.watch(kept)
        second.watch(cut)
        with first:
            pass
        with second:
            assert cut.recv(1) == b""  # So that of the first is past, too.
        kept.sendall(b"x")
        assert other.recv(1) == b"x"


def test_deadline_may_be_extended() -> None:
    """What is being handed over gets longer than what led to it."""
    extended, other = Deadline(0.5), Deadline(0.6)
    (kept, peer), (cut, another) = socket.socketpair(), socket.socketpair()
    with kept, peer, cut, another, extended:
        extended.watch(kept)
        extended.extend(LONG)
        other.watch(cut)
        with other:
            assert cut.recv(1) == b""
        kept.sendall(b"x")
        assert peer.recv(1) == b"x"
