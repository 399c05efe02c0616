"""How a request stands now, in one line, and what to say to the caller next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from flask_babel import gettext

from reset import texts
from reset.audit import Event
from reset.help_desk.answers import meaning, reading
from reset.help_desk.sentences import sentence, sentence_for
from reset.help_desk.timeline import event_title, is_of_confirmation, refusals
from reset.mail.outbox import UNATTENDED
from reset.policy import LONGEST

# Events after which nothing is sent; one that comes earlier in a request does not undo a later one.
_NOT_SENT = {
    "no_account",
    "account_inactive",
    "account_excluded",
    "account_ambiguous",
    "address_ambiguous",
    "address_secondary",
    "hash_unknown",
    "limited",
    "request_closed",
}
# Whoever sends again after one of these may see the same come of it.
_FAILED = _NOT_SENT - {"limited"} | {"mail_deferred", "mail_refused", "mail_abandoned"}
_ONCE_MORE = {"sent_again", "mail_retried"}
_ENDS = {"denied", "links_cancelled", "restored"}
_DEAD = {"superseded", "link_closed"}


@dataclass(frozen=True)
class Standing:
    """The state in one line, the sentence to say, and the act that would help, or nothing.

    ``title`` is the state in a few words.

    ``tone`` is "bad" for what keeps the person from going on, "good" where all is done;
    ``expired_at`` is when a link died unused.
    """

    state: str
    say: str
    helps: str = ""
    tone: str = ""
    expired_at: datetime | None = None
    title: str = ""


class Judge:
    """Tells how requests stand at the moment *now*, in the words of the page's language."""

    def __init__(
        self, *, now: datetime, zone: ZoneInfo, link_lifetime: timedelta, min_length: int
    ) -> None:
        self._now = now
        self._zone = zone
        self._lifetime = link_lifetime
        self._min_length = min_length

    def said(self, moment: datetime) -> str:
        """*moment* as one says it now."""
        return texts.said_time(moment, self._zone, now=self._now)

    def judge(self, events: list[Event], due_at: datetime | None) -> Standing:
        """How a request with these *events* stands; *due_at* is when its mail is tried next."""
        event = _decisive(events)
        standing = self._judge(event, events, due_at)
        name = "expired" if standing.expired_at else event.name
        return replace(
            standing,
            # A time that ends in "p. m." ends the sentence, too.
            state=standing.state.replace("..", "."),
            say=standing.say.replace("..", "."),
            title=standing.title or event_title(name),
        )

    def _judge(self, event: Event, events: list[Event], due_at: datetime | None) -> Standing:
        if event.name == "password_changed":
            return self._changed(event, events)
        if event.name in ("mail_sent", "link_opened", "password_refused", "change_failed"):
            return self._mailed(event, events)
        if event.name in ("requested", "sent_again", "mail_retried", "account_found"):
            came = _decisive([e for e in events if e.name not in _ONCE_MORE])
            return self._queued(event, due_at, failed=came.name in _FAILED)
        if event.name == "mail_deferred":
            return self._deferred(event, due_at)
        if event.name in ("mail_refused", "mail_abandoned"):
            return self._not_accepted(event)
        return self._ended(event)

    def _queued(self, event: Event, due_at: datetime | None, *, failed: bool) -> Standing:
        said = self.said(event.at)
        is_fresh = self._now - max(event.at, due_at or event.at) < UNATTENDED
        if is_fresh and failed:
            state = gettext(
                "Se pidió otra vez %(when)s. Cargue esta página de nuevo en unos segundos, para ver"
                " si el mensaje salió.",
                when=said,
            )
            return Standing(state, sentence("unknown"), title=gettext("Se intenta otra vez"))
        if is_fresh:
            state = gettext("Se pidió %(when)s, y el mensaje sale en unos segundos.", when=said)
            return Standing(state, sentence("queued"), title=gettext("El mensaje está por salir"))
        state = gettext(
            "El mensaje espera desde que se pidió, %(when)s, y nadie lo ha enviado: avise a la"
            " persona que administra el servicio.",
            when=said,
        )
        title = gettext("El mensaje espera, y nadie lo envía")
        return Standing(state, sentence("stuck"), tone="bad", title=title)

    def _deferred(self, event: Event, due_at: datetime | None) -> Standing:
        answer = str(event.details.get("answer", ""))
        state = gettext("El mensaje no ha salido. %(reading)s", reading=reading(answer))
        if due_at is not None and due_at > self._now:
            next_try = gettext("Se intenta de nuevo %(when)s.", when=self.said(due_at))
            state = f"{state} {next_try}"
        full = meaning(answer) == "mailbox_full"
        return Standing(state, sentence("mailbox_full" if full else "stuck"), tone="bad")

    def _not_accepted(self, event: Event) -> Standing:
        answer = str(event.details.get("answer", ""))
        state = gettext(
            "El mensaje no salió, y ya no se intenta más (%(when)s). %(reading)s",
            when=self.said(event.at),
            reading=reading(answer),
        )
        say = sentence_for(meaning(answer), otherwise="not_accepted")
        return Standing(state, say, "sent_again", tone="bad")

    def _mailed(self, event: Event, events: list[Event]) -> Standing:
        mails = [e for e in events if e.name == "mail_sent" and not is_of_confirmation(e)]
        sent = mails[-1] if mails else event  # A crash may have lost the line.
        until = sent.at + self._lifetime
        if self._now > until:
            return self._expired(until)
        times = {"sent": self.said(sent.at), "until": self.said(until)}
        if event.name == "mail_sent":
            state = gettext(
                "El mensaje salió %(sent)s, y el enlace todavía sirve hasta %(until)s.", **times
            )
            say = gettext(
                "El mensaje salió %(sent)s. Búsquelo por el asunto «Restablecimiento de"
                " contraseña», también en la carpeta de correo no deseado, y pulse el botón. Le"
                " sirve hasta %(until)s.",
                **times,
            )
            return Standing(state, say)
        if event.name == "password_refused":
            return self._refused(event, times["until"])
        if event.name == "change_failed":
            state = gettext(
                "La contraseña no se pudo guardar %(when)s: la plataforma no respondió. El enlace"
                " todavía sirve hasta %(until)s.",
                when=self.said(event.at),
                **times,
            )
            return Standing(state, sentence("change_failed"), tone="bad")
        state = gettext(
            "El enlace se abrió %(when)s, pero la contraseña todavía no se ha cambiado. Sirve hasta"
            " %(until)s.",
            when=self.said(event.at),
            **times,
        )
        return Standing(state, sentence("opened"))

    def _expired(self, until: datetime) -> Standing:
        state = gettext("El enlace venció %(when)s sin que se usara.", when=self.said(until))
        say = gettext(
            "El enlace de ese mensaje ya venció. Si quiere, se lo envío otra vez en este momento:"
            " le sirve durante %(time)s y una sola vez.",
            time=texts.duration(self._lifetime),
        )
        return Standing(state, say, "sent_again", tone="bad", expired_at=until)

    def _refused(self, event: Event, until: str) -> Standing:
        state = gettext(
            "La última contraseña que se intentó no se aceptó. El enlace todavía sirve hasta"
            " %(until)s.",
            until=until,
        )
        say = gettext(
            "La contraseña que escribió no se aceptó. El motivo es este: %(reasons)s Vuelva a abrir"
            " el mensaje y escriba otra, por favor.",
            reasons=" ".join(
                refusals(
                    str(event.details.get("reasons", "")),
                    min_length=self._min_length,
                    max_length=LONGEST,
                )
            ),
        )
        return Standing(state, say, tone="bad")

    def _changed(self, event: Event, events: list[Event]) -> Standing:
        state = gettext("La contraseña se cambió %(when)s.", when=self.said(event.at))
        told = next((e for e in reversed(events) if is_of_confirmation(e)), None)
        if told is not None and told.name == "mail_sent":
            done = gettext("La confirmación salió %(when)s.", when=self.said(told.at))
        else:
            done = gettext("La confirmación todavía no ha salido.")
        return Standing(f"{state} {done}", sentence("changed"), tone="good")

    def _ended(self, event: Event) -> Standing:
        state = f"{event_title(event.name)} ({self.said(event.at)})."
        helps = "sent_again" if event.name == "limited" else ""
        return Standing(state, sentence_for(event.name, otherwise="unknown"), helps, tone="bad")


def _decisive(events: list[Event]) -> Event:
    """The event that says how a request stands; what only adds to another one is passed over."""
    decisive = events[0]  # Stored with the request itself.
    for event in events:
        name = decisive.name
        if name in ("password_changed", *_ENDS) and event.name != "password_changed":
            continue  # Nothing undoes these.
        if event.name in ("overdue", "limit_cleared", "attended") or is_of_confirmation(event):
            continue
        if event.name == "request_closed" and name in _DEAD:
            continue  # It follows from what was told already.
        if event.name == "link_opened" and name in ("password_refused", "change_failed"):
            continue  # The form was sent before its page was ever opened here, or is shown again.
        decisive = event
    return decisive
