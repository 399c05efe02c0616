"""Every error that a caller treats in its own way. None carries an address, token or password."""

from __future__ import annotations

from collections.abc import Sequence


class ResetError(Exception):
    """Base of all errors of the service."""


class ConfigurationError(ResetError):
    """The settings do not allow a start; ``faults`` holds one sentence for each fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = list(faults)


class InvalidAddress(ResetError):
    """What was typed is no e-mail address that could be written to."""


class CaptchaRefused(ResetError):
    """The letters are wrong, or the challenge is forged, too old or already spent."""


class BadToken(ResetError):
    """The text is no token of this service and purpose."""


class ForeignOrigin(ResetError):
    """A form was sent from another site's page."""


class ClientUnknown(ResetError):
    """The web server passed no client address on; all visitors would share one limit."""


class RateLimited(ResetError):
    """Too many attempts; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many attempts")
        self.retry_after = retry_after


class LinkError(ResetError):
    """A link cannot be used; ``reason`` is what its bearer may be told."""

    reason = "unknown"


class LinkUnknown(LinkError):
    """Forged, damaged, or of a request that was purged."""


class LinkExpired(LinkError):
    """Genuine, but older than its lifetime."""

    reason = "expired"


class LinkUsed(LinkError):
    """Genuine, but a password was already set with it."""

    reason = "used"


class LinkReplaced(LinkError):
    """Genuine, but the account changed, another link was used, or the person cancelled it."""

    reason = "replaced"


class LinkBusy(ResetError):
    """Another request is setting a password with this link at this very moment."""


class StoreUnavailable(ResetError):
    """Our own database did not answer; nothing was written."""


class AccountsUnavailable(ResetError):
    """The accounts cannot be used now: no answer, a missing right, a wrong setting.

    Unless it is ChangeUncertain, nothing was changed.
    """


class ChangeUncertain(AccountsUnavailable):
    """A change was sent, but its answer was lost: the store may have made it or may yet do so."""


class AccountChanged(ResetError):
    """The account is not as it was when it was read; nothing was written."""


class PasswordRefused(ResetError):
    """The portal's store or hash scheme does not take this password; ``codes`` say why."""

    def __init__(self, codes: Sequence[str]) -> None:
        super().__init__(", ".join(codes))
        self.codes = list(codes)


class OperatorRefused(ResetError):
    """Somebody is not added, or not let in, as an operator; ``codes`` say why."""

    def __init__(self, codes: Sequence[str]) -> None:
        super().__init__(", ".join(codes))
        self.codes = list(codes)


class MailDeferred(ResetError):
    """The mail was not taken now; another attempt is worth while.

    ``answer`` is what the server said; ``server_down`` means that no other mail would fare better,
    ``refuses_us`` that the server is there but takes nothing from us: a fault of the set-up.
    """

    def __init__(self, answer: str, *, server_down: bool = False, refuses_us: bool = False) -> None:
        super().__init__(answer)
        self.answer = answer
        self.server_down = server_down
        self.refuses_us = refuses_us


class MailRefused(ResetError):
    """This mail will never be taken; ``answer`` is what the server said."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer = answer


class Unmeasurable(ResetError):
    """A running service could not be measured: it is out of reach, or refuses every request."""
