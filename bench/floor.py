"""The least that a process of ours could be: the libraries that it stands on, and SQLite open."""

from __future__ import annotations

import signal

import sqlalchemy as sa
from flask import Flask
from flask_babel import Babel
from flask_mail import Mail

app = Flask(__name__)
Mail(app)
Babel(app)
with sa.create_engine("sqlite://").begin() as connection:
    connection.execute(sa.text("SELECT 1")).scalar_one()
    print("ready", flush=True)
    signal.pause()
