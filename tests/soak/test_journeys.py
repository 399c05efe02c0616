"""Visitors who do everything in any order, against a model of what must be true."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from reset.captcha import answer
from tests.conftest import KEY, Clock, Portal, Visitor, hash_bcrypt, links_in
from tests.soak.conftest import Note, Rounds

LIFETIME = timedelta(hours=12)


@dataclass(frozen=True)
class Mailed:
    """A mail with its two links: dead when their era or their time is over."""

    link: str
    denial: str
    era: int
    changes: int
    dies_at: datetime


class Journey(RuleBasedStateMachine):
    """One account; an era ends with a change of password and with a "no fui yo"."""

    mails = Bundle("mails")
    visitor: Visitor
    portal: Portal
    clock: Clock
    serial = itertools.count()
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        number = next(self.serial)
        self.email = f"ana{number}@example.com"
        self.account = self.portal.add(f"ana{number}", self.email)
        self.stored = self.portal.stored(self.account)
        self.era = self.changes = self.read = 0
        self.pending = False
        self.made: list[Mailed] = []

    @rule(times=st.sampled_from([1, 1, 6]))
    def ask(self, times: int) -> None:
        for _ in range(times):
            assert self.visitor.ask(self.email).status_code == 303
        self.pending = True

    @initialize(target=mails)
    def two_mails(self) -> Any:
        """Most of what can go wrong needs one link to change what another is good for."""
        for _ in range(2):
            self.ask(1)
            self.clock.advance(seconds=1)
        return self.deliver()

    @rule()
    def ask_in_vain(self) -> None:
        challenge = self.visitor.challenge()
        for letters in ("AAAAaaaa", answer(challenge, [KEY])):
            answered = self.visitor.ask(self.email, challenge=challenge, captcha=letters)
            assert answered.status_code == 200

    @rule(target=mails)
    def deliver(self) -> Any:
        self.visitor.run_worker()
        new = [mail for mail in self.visitor.mails(self.email)[self.read :] if links_in(mail)]
        self.read = len(self.visitor.mails(self.email))
        dies_at = self.clock() + LIFETIME
        made = [
            Mailed(
                links_in(mail)[0], links_in(mail, "no-fui-yo")[0], self.era, self.changes, dies_at
            )
            for mail in new
        ]
        self.made += made
        self.newest = made[-1] if made else self.newest
        assert self.pending or not made
        assert not self.pending or (self.newest and self.is_live(self.newest))
        self.pending = False
        return multiple(*made)

    @rule(mail=mails)
    def open(self, mail: Mailed) -> None:
        for _ in range(2):
            opened = self.visitor.client.get(mail.link)
            assert opened.status_code == (200 if self.is_live(mail) else 410)

    @rule(mail=mails)
    def try_weak_password(self, mail: Mailed) -> None:
        refused = self.visitor.set_password(mail.link, "corta")
        assert refused.status_code == (200 if self.is_live(mail) else 410)

    @rule(mail=mails)
    def set_password(self, mail: Mailed) -> None:
        password = f"Mesa-Verde-Lluvia-{self.clock():%d%H%M%S}"
        answered = self.visitor.set_password(mail.link, password)
        assert answered.status_code == (303 if self.is_live(mail) else 410)
        if answered.status_code == 303:
            assert self.portal.lets_in(self.account, password)
            self.stored = self.portal.stored(self.account)
            self.changes += 1
            self.end_era()

    @rule(mail=mails)
    def deny(self, mail: Mailed) -> None:
        in_time = self.clock() <= mail.dies_at and mail.changes == self.changes
        token = mail.denial.rpartition("/")[2]
        denied = self.visitor.client.post("/no-fui-yo", data={"token": token})
        assert denied.status_code == (200 if in_time else 410)
        if in_time:
            self.end_era()

    @rule()
    def change_in_the_portal(self) -> None:
        self.stored = hash_bcrypt(f"Portal-{self.clock()}")
        self.portal.set(self.account, clave=self.stored)
        self.era += 1

    @rule(hours=st.integers(1, 8))
    def wait(self, hours: int) -> None:
        self.clock.advance(hours=hours)

    @invariant()
    def nothing_else_changes_the_password(self) -> None:
        Journey.steps += 1
        self.clock.advance(seconds=1)
        assert self.portal.stored(self.account) == self.stored

    def teardown(self) -> None:
        self.visitor.run_worker()
        subjects = [mail.subject for mail in self.visitor.mails(self.email)]
        assert subjects.count("Su contraseña fue actualizada") == self.changes

    newest: Mailed | None = None

    def is_live(self, mail: Mailed) -> bool:
        return mail.era == self.era and self.clock() <= mail.dies_at

    def end_era(self) -> None:
        self.era += 1
        self.pending = False
        for mail in self.made:
            assert self.visitor.client.get(mail.link).status_code == 410


def test_any_order_of_steps_keeps_the_promises(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    portal: Portal,
    clock: Clock,
    rounds: Rounds,
    figure: Note,
) -> None:
    """One success a link, one mail a change, dead links dead, and nobody locked out."""
    Journey.visitor = make_visitor(make_app(limit_per_ip="100000 per minute"))
    Journey.portal, Journey.clock = portal, clock
    run_state_machine_as_test(
        Journey,
        settings=settings(
            max_examples=rounds(8, 120),
            stateful_step_count=rounds(15, 40),
            phases=[Phase.generate],  # To find a shorter way to a failure would take minutes.
            derandomize=rounds(1, 0) == 1,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    figure(
        "4 works once",
        "steps of visitors in any order, promises broken",
        f"{Journey.steps}, 0",
        "0",
    )
