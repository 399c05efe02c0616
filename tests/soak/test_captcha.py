"""The captcha against those who send one answer often, and against programs that read."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from flask import Flask
from PIL import Image

from reset.captcha import ALPHABET, answer
from reset.captcha.image import draw
from tests.conftest import KEY, Visitor, program
from tests.soak.conftest import Note, Rounds


@pytest.fixture
def unlimited(make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor]) -> Visitor:
    """Somebody whom no limit stops."""
    return make_visitor(make_app(limit_per_ip="100000 per minute"))


def test_one_answer_counts_once(unlimited: Visitor, rounds: Rounds, figure: Note) -> None:
    """One solved captcha, sent again and again at once for as many addresses: one request."""
    count = rounds(50, 1000)
    challenge = unlimited.challenge()
    letters = answer(challenge, [KEY])
    spellings = [challenge, challenge + "=", challenge + "~~~"]

    def send(number: int) -> int:
        data = {"challenge": spellings[number % 3], "captcha": letters}
        client = unlimited.app.test_client()
        return client.post("/", data=data | {"email": f"p{number}@example.com"}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(send, range(count)))
    figure("captcha", f"replays accepted, of {count - 1}", statuses.count(303) - 1, "0")
    assert sorted(statuses) == [200] * (count - 1) + [303]


def test_each_answer_counts(unlimited: Visitor, rounds: Rounds, figure: Note) -> None:
    """Challenges sent twice at once: each is accepted, and none twice."""
    count = rounds(10, 300)
    challenges = [unlimited.challenge() for _ in range(count)]

    def send(challenge: str) -> int:
        data = {"challenge": challenge, "captcha": answer(challenge, [KEY])}
        client = unlimited.app.test_client()
        return client.post("/", data=data | {"email": "nadie@example.com"}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(send, [one for one in challenges for _ in range(2)]))
    figure("captcha", f"{count} challenges sent twice: accepted", statuses.count(303), str(count))
    assert statuses.count(303) == count


def attempts(picture: Image.Image) -> Iterator[Image.Image]:
    """The picture as it is, and three times as large in black and white, either way round."""
    grey = picture.convert("L")
    yield grey
    large = grey.resize((grey.width * 3, grey.height * 3), Image.Resampling.LANCZOS)
    yield large.point([255 * (shade > 128) for shade in range(256)])
    yield large.point([255 * (shade <= 128) for shade in range(256)])


def test_tesseract_reads_next_to_nothing(tmp_path: Path, rounds: Rounds, figure: Note) -> None:
    """The program that anyone can install in a minute, in its two modes for single lines."""
    tesseract = program("the test of a reading program", "tesseract-ocr", "tesseract")
    truth, files = [], []
    for number in range(rounds(5, 300)):
        rng = random.Random(number)  # noqa: S311 - the same pictures in every run.
        truth.append("".join(rng.choices(ALPHABET, k=8)))
        picture = Image.open(BytesIO(draw(truth[-1], rng.randbytes(32))))
        for way, attempt in enumerate(attempts(picture)):
            files.append(tmp_path / f"{number}-{way}.png")
            attempt.save(files[-1])
    (tmp_path / "list").write_text("\n".join(map(str, files)))
    best = 0
    for mode in ("7", "8"):
        read = texts(tesseract, tmp_path / "list", mode)
        for way in range(len(files) // len(truth)):
            right = sum(read.get(3 * n + way + 1) == whole for n, whole in enumerate(truth))
            best = max(best, right)
    figure("captcha", f"pictures that tesseract read whole, of {len(truth)}", best, "1 %")
    assert best <= len(truth) // 100


def texts(tesseract: str, listed: Path, mode: str) -> dict[int, str]:
    """What was read, without spaces, by the place in the list, from 1."""
    settings = ["--psm", mode, "-c", f"tessedit_char_whitelist={ALPHABET}", "tsv"]
    environ = {"OMP_THREAD_LIMIT": "1", "PATH": os.defpath}
    command = [tesseract, str(listed), "-", *settings]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    found: dict[int, str] = {}
    for line in done.stdout.splitlines():
        columns = line.split("\t")  # Level 5 is a word; its page and its text.
        if columns[0] == "5":
            page = int(columns[1])
            found[page] = found.get(page, "") + columns[11].strip()
    return found
