"""What an operator can do with a request, in words, and the form that asks for the reason."""

from __future__ import annotations

from flask_babel import gettext
from flask_babel import lazy_gettext as _
from wtforms import HiddenField, StringField
from wtforms.validators import ValidationError

from reset.accounts.fields import as_text
from reset.help_desk.forms import OperatorForm

SHORTEST, LONGEST = 3, 200
OTHER = "other"
ACTS = {
    "sent_again": {
        "name": _("Enviar el mensaje otra vez"),
        "hint": _(
            "Sale un mensaje nuevo al correo de la cuenta, y su enlace sirve desde ese momento. No"
            " cuenta para el límite de la persona. Se puede hasta tres veces por hora."
        ),
        "button": _("Enviar otra vez"),
    },
    "links_cancelled": {
        "name": _("Cancelar los enlaces"),
        "hint": _(
            "Los enlaces abiertos de la cuenta dejan de servir, y lo que espera ya no sale. La"
            " contraseña no cambia, y la persona puede hacer otra solicitud."
        ),
        "button": _("Cancelar ahora"),
    },
    "limit_cleared": {
        "name": _("Quitar el límite de este correo"),
        "hint": _(
            "Quien ya pidió varias veces seguidas puede pedir de nuevo enseguida, y le llega."
        ),
        "button": _("Quitar el límite"),
    },
    "attended": {
        "name": _("Marcar como atendida"),
        "hint": _("La solicitud sale de la lista de pendientes. Aquí no cambia nada más."),
        "button": _("Marcar"),
    },
}
_REASONS = {
    "sent_again": (
        _("No le llegó el mensaje"),
        _("Lo borró o no lo encuentra"),
        _("El enlace venció"),
    ),
    "links_cancelled": (
        _("La persona no lo pidió"),
        _("Otra persona puede leer su correo"),
        _("La persona pide cancelarlos"),
    ),
    "limit_cleared": (
        _("Pidió varias veces sin ver el mensaje"),
        _("Varias personas comparten el correo"),
    ),
    "attended": (
        _("Se le llamó, y ya pudo entrar"),
        _("Se le llamó, y no respondió"),
        _("Ya no lo necesita"),
    ),
}
DONE = {
    "sent_again": _("Hecho: se intenta en unos segundos."),
    "links_cancelled": _("Hecho: los enlaces ya no sirven."),
    "limit_cleared": _("Hecho: la persona ya puede volver a pedir."),
    "attended": _("Hecho: la solicitud ya no está entre los pendientes."),
}
REFUSED = {
    "closed": _(
        "Esta solicitud se canceló y no se puede enviar otra vez. Pida a la persona que haga otra."
    ),
    "changed": _(
        "No se envió: la contraseña de la cuenta ya se cambió después de esta solicitud. Si la"
        " persona la olvidó de nuevo, pídale que haga otra."
    ),
    "sending": _(
        "El mensaje se está enviando en este momento. Espere unos segundos y vuelva a cargar la"
        " página."
    ),
    "too_often": _(
        "No se envió: ya se hizo tres veces en la última hora. Revise qué dice el servidor de"
        " correo, o espere un rato."
    ),
    "busy": _(
        "No se canceló: en este momento se está guardando una contraseña de la cuenta. Espere un"
        " minuto y vuelva a cargar la página."
    ),
    "nothing_open": _(
        "No hay nada que cancelar: la cuenta no tiene enlaces abiertos, y ningún mensaje espera."
    ),
    "done": _("Eso ya estaba hecho, y no se hizo dos veces."),
}


def reasons(act: str) -> list[tuple[str, str]]:
    """The common reasons for *act*, each with the value that a form sends, and "another one"."""
    common = [(str(number), str(words)) for number, words in enumerate(_REASONS[act], 1)]
    return [*common, (OTHER, gettext("Otro motivo"))]


class ActForm(OperatorForm):
    """Why an operator acts. ``reason`` is the whole of it after a successful validation."""

    act = HiddenField()
    seen = HiddenField()
    why = StringField()
    detail = StringField()
    reason = ""

    def validate_why(self, field: StringField) -> None:
        """One of those that are offered."""
        if field.data not in dict(reasons(self.act.data)):
            raise ValidationError(gettext("Elija un motivo."))

    def validate_detail(self, field: StringField) -> None:
        """As many letters as tell something where no other reason does, and not too many."""
        detail = as_text(field.data)
        if self.why.data == OTHER and len(detail) < SHORTEST:
            raise ValidationError(gettext("Escriba el motivo."))
        if len(detail) > LONGEST:
            raise ValidationError(gettext("Escriba el motivo en 200 letras o menos."))
        common = "" if self.why.data == OTHER else dict(reasons(self.act.data)).get(self.why.data)
        self.reason = ": ".join(filter(None, (common, detail)))
