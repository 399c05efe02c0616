"""A portal on Django: `python -m tests.readers.django_portal URL migrate|add|log-in`.

`add` and `log-in` take people as JSON from the standard input; `log-in` answers who got in.
"""

import json
import sys

import django
from django.conf import settings
from django.contrib import auth
from django.core.management import call_command
from sqlalchemy import make_url


def main(address: str, command: str) -> None:
    url = make_url(address)
    portal = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.database,
        "USER": url.username,
        "HOST": url.host,
        "PORT": url.port,
    }
    apps = ["django.contrib.contenttypes", "django.contrib.auth"]
    settings.configure(DATABASES={"default": portal}, INSTALLED_APPS=apps)
    django.setup()
    if command == "migrate":
        call_command("migrate", verbosity=0)
        return
    people = json.load(sys.stdin)
    if command == "add":
        for person in people:
            auth.get_user_model().objects.create_user(**person)
    else:
        print(json.dumps([auth.authenticate(**person) is not None for person in people]))


main(*sys.argv[1:])
