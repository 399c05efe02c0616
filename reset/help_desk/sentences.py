"""The sentences to say to a caller that need no time and nothing else of the request."""

from __future__ import annotations

from flask_babel import lazy_gettext as _

_SAY = {
    "queued": _(
        "Su solicitud ya está en proceso. En un par de minutos le llega un mensaje con el asunto"
        " «Restablecimiento de contraseña». Mire también, por favor, en la carpeta de correo no"
        " deseado."
    ),
    "stuck": _(
        "Su solicitud quedó bien registrada. El envío de correos está demorado de nuestro lado; no"
        " tiene que pedirlo otra vez. El mensaje le llegará apenas se normalice."
    ),
    "mailbox_full": _(
        "Su buzón parece estar lleno y por eso no recibe nuestro mensaje. Borre, por favor, los"
        " correos que no necesite, vacíe la papelera y me avisa: se lo envío otra vez."
    ),
    "no_mailbox": _(
        "El correo que usted escribió no está recibiendo mensajes. Revise, por favor, si cambió de"
        " correo. Para registrar otro debo verificar primero sus datos."
    ),
    "not_accepted": _(
        "El servidor de su correo no recibió nuestro mensaje. Permítame informarlo a la persona"
        " encargada para resolverlo y se lo envío otra vez."
    ),
    "opened": _(
        "El enlace ya se abrió una vez. Vuelva a abrir el mensaje, pulse el botón, escriba la nueva"
        " contraseña dos veces, iguales, y pulse «Actualizar Contraseña»."
    ),
    "change_failed": _(
        "La plataforma no respondió cuando se iba a guardar su contraseña, y nada cambió. Espere un"
        " par de minutos, vuelva a abrir el mensaje y escríbala de nuevo."
    ),
    "changed": _(
        "Su contraseña ya se cambió. Ingrese con la nueva y con su usuario de siempre. Si no fue"
        " usted quien la cambió, dígamelo ahora mismo."
    ),
    "no_account": _(
        "Con ese correo no pudimos enviarle el mensaje. ¿Puede ser que se haya registrado con otro,"
        " quizás uno más antiguo? Haga otra solicitud con ese, por favor, y léame el número."
    ),
    "needs_check": _(
        "No pude enviarle el mensaje porque su cuenta necesita una revisión. Permítame verificar"
        " sus datos y lo consulto con la persona encargada."
    ),
    "account_excluded": _(
        "Por seguridad, la contraseña de su cuenta no se cambia desde esa página. Permítame"
        " verificar sus datos y lo consulto con la persona encargada."
    ),
    "address_secondary": _(
        "Su cuenta tiene más de un correo, y el mensaje solo se envía al principal. Haga otra"
        " solicitud con ese, por favor, y léame el número."
    ),
    "limited": _(
        "Ya le enviamos varios mensajes y el más reciente todavía sirve. Búsquelo por el asunto"
        " «Restablecimiento de contraseña», también en la carpeta de correo no deseado. Si no lo"
        " encuentra, se lo envío otra vez."
    ),
    "denied": _(
        "Esa solicitud se canceló desde el mismo correo, como una que usted no había pedido. Su"
        " contraseña sigue igual. Si quiere cambiarla, haga otra solicitud, por favor, y léame el"
        " número."
    ),
    "ended": _(
        "Los enlaces que le enviamos ya no sirven. Si todavía quiere cambiar su contraseña, haga"
        " otra solicitud, por favor, y léame el número."
    ),
    "unknown": _("Permítame un momento mientras consulto el estado de su solicitud."),
}
# Which of them belongs to what.
_OF = {
    **dict.fromkeys(("account_inactive", "account_ambiguous"), "needs_check"),
    **dict.fromkeys(("address_ambiguous", "hash_unknown"), "needs_check"),
    **dict.fromkeys(("request_closed", "links_cancelled", "restored"), "ended"),
    **dict.fromkeys(("superseded", "link_closed", "mail_dropped"), "ended"),
    **dict.fromkeys(("no_mailbox", "no_domain", "mailbox_disabled", "unwritable"), "no_mailbox"),
}


def sentence(code: str) -> str:
    """The sentence of that code."""
    return str(_SAY[code])


def sentence_for(what: str, *, otherwise: str) -> str:
    """The sentence that belongs to an event or to what a mail server means, else that other one."""
    return sentence(_OF.get(what, what if what in _SAY else otherwise))
