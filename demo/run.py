"""`make run`: the demo portal, the mailbox and the service, started together and ended together."""

import argparse
import errno
import http.client
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from demo import accounts
from demo.children import ChildFailed, Crew, Stopped, StopSwitch

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
# From here the demo's person sees the service as a stranger's site, as in a real portal's frame.
PORTAL = f"http://{HOST}"
OPERATOR = "ayuda"
OPERATOR_PASSWORD = "lluvia guitarra canoa"  # noqa: S105 - the demo's own


class PortBusy(Exception):
    """A port cannot be used; the text is one line that says which and what to do."""


@dataclass(frozen=True)
class Ports:
    """Where everything listens."""

    service: int
    portal: int
    smtp: int
    mailbox: int

    @classmethod
    def at(cls, offset: int) -> "Ports":
        return cls(5000 + offset, 5001 + offset, 1025 + offset, 8025 + offset)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    instance, ports = options.instance.resolve(), Ports.at(options.offset)
    if options.trace is not None:
        command = [sys.executable, "-m", "flask", "--app", "app", "reset", "trace", options.trace]
        env = service_environment(os.environ, instance, ports)
        return subprocess.call(command, cwd=ROOT, env=env)  # noqa: S603 - our own command
    switch = StopSwitch()
    try:
        for port in astuple(ports):
            require_free(port)
        prepare(instance)
        run(Crew(ROOT, instance / "logs", switch), instance, ports)
    except Stopped:
        return 0
    except (PortBusy, ChildFailed) as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo.run", description=__doc__)
    parser.add_argument(
        "--offset",
        type=int,
        default=os.environ.get("PORT_OFFSET") or "0",
        help="move all ports by this number (default: the variable PORT_OFFSET, or 0)",
    )
    parser.add_argument(
        "--instance",
        type=Path,
        default=Path("instance"),
        help="the folder for everything that is stored (default: instance)",
    )
    parser.add_argument(
        "--trace", metavar="NUMBER-OR-ADDRESS", help="only tell what happened to a request"
    )
    return parser.parse_args(arguments)


def prepare(instance: Path) -> None:
    """Create what the first start needs; later starts find it and leave it alone."""
    instance.mkdir(mode=0o700, parents=True, exist_ok=True)
    (instance / "logs").mkdir(exist_ok=True)
    accounts.seed(instance / "portal.sqlite")
    keys = instance / "secret_keys"
    if not keys.exists():
        descriptor = os.open(keys, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")


def run(crew: Crew, instance: Path, ports: Ports) -> None:
    """Start all, say where they are, and stay until the end; never leaves a child behind."""
    env = service_environment(os.environ, instance, ports)
    try:
        start(crew, env, instance, ports)
        crew.wait_ready()
        print(welcome(env, instance, ports), flush=True)
        crew.watch()
    finally:
        crew.end()


def start(crew: Crew, env: Mapping[str, str], instance: Path, ports: Ports) -> None:
    python = sys.executable
    reset = [python, "-m", "flask", "--app", "app", "reset"]
    is_new = not (instance / "demo.sqlite").exists()
    crew.run_once("migrate", [*reset, "migrate"], env)
    if is_new and uses_demo_state(env, instance):
        add = [*reset, "operators", "add", OPERATOR]
        crew.run_once("operator", add, env, typed=OPERATOR_PASSWORD)
    crew.start(
        "mailbox",
        [
            *(python, "-m", "demo.mailbox", f"--maildir={instance / 'mailbox'}"),
            *(f"--smtp-port={ports.smtp}", f"--port={ports.mailbox}"),
        ],
        env,
        lambda: listens(ports.smtp) and listens(ports.mailbox),
    )
    crew.start(
        "portal",
        [
            *(python, "-m", "demo.portal", f"--database={instance / 'portal.sqlite'}"),
            *(f"--service-url={env['RESET_PUBLIC_URL']}", f"--port={ports.portal}"),
        ],
        env,
        lambda: listens(ports.portal),
    )
    crew.start("web", [python, "-m", "gunicorn"], env, lambda: says_ready(ports.service))
    crew.start("worker", [*reset, "worker"], env)


def service_environment(given: Mapping[str, str], instance: Path, ports: Ports) -> dict[str, str]:
    """The *given* environment and, where it is silent, the settings of the demo."""
    # A `.env` in the project is for the real portal.
    env = {**given, "PORT": str(ports.service), "PYTHONUNBUFFERED": "1", "FLASK_SKIP_DOTENV": "1"}
    for name, value in settings(instance, ports).items():
        # A secret may be given as itself or as NAME_FILE, but not as both.
        if name not in given and name.removesuffix("_FILE") not in given:
            env[name] = value
    return env


def settings(instance: Path, ports: Ports) -> dict[str, str]:
    """What an operator would write for this portal; all that the service knows of it."""
    portal = f"{PORTAL}:{ports.portal}"
    return {
        "RESET_SECRET_KEYS_FILE": str(instance / "secret_keys"),
        "RESET_PUBLIC_URL": f"http://localhost:{ports.service}",
        "RESET_DATABASE_URL": f"sqlite:///{instance / 'demo.sqlite'}",
        "RESET_ACCOUNTS_URL": f"sqlite:///{instance / 'portal.sqlite'}",
        "RESET_ACCOUNTS_TABLE": "usuarios",
        "RESET_ACCOUNTS_ID": "id",
        "RESET_ACCOUNTS_LOGIN": "usuario",
        "RESET_ACCOUNTS_EMAIL": "correo",
        "RESET_ACCOUNTS_PASSWORD": "clave",
        "RESET_ACCOUNTS_NAME": "nombre",
        "RESET_ACCOUNTS_ACTIVE": "activo",
        "RESET_ACCOUNTS_PERSONAL": "telefono,documento,nacimiento",
        "RESET_MAIL_SERVER": HOST,
        "RESET_MAIL_PORT": str(ports.smtp),
        "RESET_MAIL_DEFAULT_SENDER": "Hanna <no-responder@example.com>",
        "RESET_FRAME_ANCESTORS": portal,
        "RESET_PORTAL_URL": f"{portal}/",
        "RESET_BRAND_NAME": "Hanna",
        "RESET_BRAND_ORGANISATION": "Caja de Compensación Familiar",
        "RESET_BRAND_COLOR": "#00695c",
        "RESET_SUPPORT_PHONE": "(605) 371 4545",
        "RESET_SUPPORT_EMAIL": "ayuda@example.com",
    }


def uses_demo_state(env: Mapping[str, str], instance: Path) -> bool:
    """Whether the service's state is the demo's own: no other gets an operator that all know."""
    return env["RESET_DATABASE_URL"] == f"sqlite:///{instance / 'demo.sqlite'}"


def require_free(port: int) -> None:
    """Refuse a port that something else holds, before anything is started.

    Raises:
        PortBusy: it is in use, or must not be used.
    """
    try:
        # Binding alone would miss a server on all addresses, such as AirPlay's on macOS.
        if listens(port, HOST) or listens(port, "::1"):
            raise PortBusy(f"port {port} is in use; try: make run PORT_OFFSET=100")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except (OSError, OverflowError) as error:
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is in use" if in_use else f"cannot be used ({error})"
        raise PortBusy(f"port {port} {reason}; try: make run PORT_OFFSET=100") from error


def listens(port: int, host: str = HOST) -> bool:
    """Whether a server takes connections on *port*."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def says_ready(port: int) -> bool:
    """Whether the service answers its readiness check with 200."""
    connection = http.client.HTTPConnection("localhost", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def welcome(env: Mapping[str, str], instance: Path, ports: Ports) -> str:
    return f"""
  The demo is running.

    Demo portal      {PORTAL}:{ports.portal}
    Password reset   {env["RESET_PUBLIC_URL"]}
    Mailbox          http://localhost:{ports.mailbox}
{help_desk_note(env, instance)}
    Login            {accounts.DEMO_LOGIN}
    Password         {accounts.DEMO_PASSWORD}{changed_note(instance)}
    Mail address     {accounts.DEMO_EMAIL}

    Output           {instance / "logs"}
    What happened    make trace OF={accounts.DEMO_EMAIL}  (or a request number)

  Ctrl-C ends everything.
"""


def help_desk_note(env: Mapping[str, str], instance: Path) -> str:
    if not uses_demo_state(env, instance):
        return ""
    page = f"{env['RESET_PUBLIC_URL']}/ayuda/"
    return f"    Help desk        {page}  (user: {OPERATOR}, password: {OPERATOR_PASSWORD})\n"


def changed_note(instance: Path) -> str:
    """What to add to the demo's password when somebody has reset it in an earlier run."""
    found = accounts.find(instance / "portal.sqlite", accounts.DEMO_LOGIN)
    if any(accounts.check(accounts.DEMO_PASSWORD, row["clave"]) for row in found):
        return ""
    return "  (until it was reset; delete the instance folder to start afresh)"


if __name__ == "__main__":
    sys.exit(main())
