"""The forms of operators: one string a field, and only from the page that they were shown on."""

from __future__ import annotations

from typing import Any

from flask_babel import gettext as _
from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField
from wtforms.validators import ValidationError

from reset.embed import refuse_foreign_form
from reset.forms import require_fields
from reset.service import service


class OperatorForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types.
    """Base of all forms of the help desk: Flask-WTF's own token, kept in the operator's session.

    A form whose session is over is shown again with what was typed, and with a token that is good.
    """

    def validate(self, extra_validators: Any = None) -> bool:
        """As WTForms does; what is wrong with the token is told as a fault of the whole form."""
        valid = bool(super().validate(extra_validators))
        if self.csrf_token.errors:
            self.csrf_token.errors = []
            self.form_errors = [_("La página estuvo abierta demasiado tiempo. Inténtelo de nuevo.")]
        return valid


class SignInForm(OperatorForm):
    """Name and password of an operator."""

    name = StringField()
    password = PasswordField()

    def validate_name(self, field: StringField) -> None:
        """Something was typed."""
        if not (field.data or "").strip():
            raise ValidationError(_("Escriba su usuario."))

    def validate_password(self, field: PasswordField) -> None:
        """Something was typed."""
        if not field.data:
            raise ValidationError(_("Escriba su contraseña."))


def accept_form(*names: str) -> None:
    """What every form of the help desk must pass before it is read; *names* are its fields.

    Raises:
        ForeignOrigin: another site's page sent it.
        BadRequest: no browser with our page sends such a form.
    """
    refuse_foreign_form(service().public_url)
    require_fields(*names, optional="csrf_token")
