"""The two forms: what was typed, one string a field, with errors in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import request
from flask_wtf import FlaskForm
from werkzeug.exceptions import BadRequest, HTTPException
from wtforms import HiddenField, PasswordField, StringField, SubmitField
from wtforms.csrf.core import CSRF, CSRFTokenField
from wtforms.validators import ValidationError

from reset import texts
from reset.address import normalise
from reset.errors import InvalidAddress
from reset.service import service

FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


def require_fields(*names: str, optional: str = "") -> None:
    """Accept a form only if each of *names* was sent exactly once, as text, and no file at all.

    *optional* may be left out, but not be sent twice.

    Raises:
        BadRequest: a browser with our page never sends such a form.
    """
    if request.mimetype not in FORM_TYPES:
        raise BadRequest
    try:
        request.form  # noqa: B018 - reads the body
    except HTTPException:
        raise
    except Exception as error:
        # Broken off, or chunks that are none: each web server has errors of its own for it.
        raise BadRequest from error
    # Flask-WTF would take a file for the field of its name, and first.
    if request.files or any(len(request.form.getlist(name)) != 1 for name in names):
        raise BadRequest
    if len(request.form.getlist(optional)) > 1:
        raise BadRequest


class ChallengeAsFormState(CSRF):  # type: ignore[misc]  # WTForms ships no types.
    """The captcha's challenge is the form state: signed, timed, for one form and one use.

    It needs no session. What a page of another site could still do with a challenge that it
    fetched is refused by the origin of the request.
    """

    def generate_csrf_token(self, csrf_token_field: CSRFTokenField) -> str:
        return ""  # WTForms asks for one also where none is shown: see `shown_challenge`.

    def validate_csrf_token(self, form: Any, field: CSRFTokenField) -> None:
        parts = service()
        if not parts.captcha.is_fresh(field.data or "", now=parts.clock()):
            raise ValidationError(texts.text("captcha_refused"))


class _Meta(FlaskForm.Meta):  # type: ignore[misc]
    def get_translations(self, form: Any) -> None:
        """None: all sentences are ours, and WTForms' would be read from a file for each form."""


class RequestForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types.
    """E-mail and captcha. ``address`` is the normalised e-mail after a successful validation."""

    class Meta(_Meta):
        csrf = True
        csrf_class = ChallengeAsFormState
        csrf_field_name = "challenge"

    email = StringField()
    captcha = StringField()
    proof = HiddenField()
    refresh = SubmitField()
    address = ""
    _needs_new_challenge = False

    def validate_email(self, field: StringField) -> None:
        """An address that could be registered."""
        if not (field.data or "").strip():
            raise ValidationError(texts.text("address_missing"))
        try:
            self.address = normalise(field.data)
        except InvalidAddress as error:
            raise ValidationError(texts.text("address_invalid")) from error

    def validate_captcha(self, field: StringField) -> None:
        """Something was typed or proved; whether it is right is judged once, at the very end."""
        if not self.proof.data and not (field.data or "").strip():
            raise ValidationError(texts.text("captcha_missing"))

    def validate(self, extra_validators: Any = None) -> bool:
        """As WTForms does; a challenge past its time is told beside the letters."""
        valid = bool(super().validate(extra_validators))
        if self.challenge.errors:
            self.challenge.errors = []
            self.refuse_captcha()
        return valid

    @property
    def shown_challenge(self) -> str:
        """What was sent while it can still be answered (a typo in the e-mail), else a new one.

        A new one each time that it is read.
        """
        if self.is_submitted() and not self._needs_new_challenge:
            return str(self.challenge.data)
        parts = service()
        return parts.captcha.issue(now=parts.clock())

    def refuse_captcha(self) -> None:
        """The letters were wrong, or the challenge was spent: show new ones, keep the e-mail."""
        code = "proof_refused" if self.proof.data else "captcha_refused"
        self.captcha.errors = [texts.text(code)]
        self.show_new_challenge()

    def show_new_challenge(self) -> None:
        """Forget what was typed or proved for the old one."""
        self._needs_new_challenge = True
        self.captcha.data = self.proof.data = ""


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """The new password, twice, exactly as typed. Its authority is the token."""

    class Meta(_Meta):
        csrf = False

    token = HiddenField()
    password = PasswordField()
    confirm = PasswordField()

    def validate_password(self, field: PasswordField) -> None:
        """Something was typed; the rules are judged with the account at hand."""
        if not field.data:
            raise ValidationError(texts.text("missing"))

    def validate_confirm(self, field: PasswordField) -> None:
        """Both are the same."""
        if self.password.data and field.data != self.password.data:
            raise ValidationError(texts.text("mismatch"))

    def refuse(self, sentences: Sequence[str]) -> None:
        """Show why the password was not taken."""
        self.password.errors = list(sentences)
