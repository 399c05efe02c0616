"""The captcha's sound: what it says, how it is served, and recordings of an office's own."""

from __future__ import annotations

import io
import math
import random
import re
import subprocess
import sys
import wave
from array import array
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from flask import Flask

import config
from config import Settings
from reset.captcha import ALPHABET, answer
from reset.captcha.audio import VOICE_DIR, Voice, load, speak
from reset.errors import ConfigurationError
from tests.conftest import ENVIRON, KEY, Visitor

LETTERS = "QeAhTgXr"
RATE = 11_025
FRAME = RATE // 100
TONES = (200, 330, 540, 880, 1450)  # Hz, so far apart that stretching confuses none.
ROOT = Path(__file__).parents[1]
# As the manual lists them; in a folder that does not tell a from A, too.
FILES = {c: f"{'lower' if c in 'aeghrt' else 'upper'}_{c.lower()}.wav" for c in ALPHABET}
CLIPS = [*(f"opening_{length}.wav" for length in range(6, 11)), *FILES.values()]


@pytest.fixture
def voice() -> Voice:
    return load(VOICE_DIR, ALPHABET)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder of an office's own: each letter is two tones of a fifth of a second."""
    folder = tmp_path / "voz"
    folder.mkdir()
    for name in CLIPS[:5]:
        record(folder / name, tones(0, 0))
    for place, letter in enumerate(ALPHABET):
        record(folder / FILES[letter], tones(*divmod(place, 5)))
    return folder


def tones(*which: int, rate: int = RATE, loud: float = 0.5) -> list[float]:
    """One tone behind the other, as samples from -1 to 1."""
    times = [n / rate for n in range(rate // 5)]
    return [loud * math.sin(math.tau * TONES[tone] * t) for tone in which for t in times]


def record(
    path: Path, samples: list[float], *, rate: int = RATE, bits: int = 8, channels: int = 1
) -> None:
    numbers = [value for value in samples for _ in range(channels)]
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, bits // 8, rate, 0, "NONE", ""))
        if bits == 8:
            file.writeframes(bytes(128 + round(127 * value) for value in numbers))
        else:
            file.writeframes(array("h", [round(32_767 * value) for value in numbers]).tobytes())


def samples(wav: bytes) -> list[int]:
    with wave.open(io.BytesIO(wav)) as sound:
        return [value - 128 for value in sound.readframes(sound.getnframes())]


def loudness(part: list[int]) -> float:
    return math.sqrt(sum(value * value for value in part) / len(part))


def spoken(sound: list[int]) -> list[tuple[int, int]]:
    """Where somebody speaks, in hundredths of a second; a pause within a clip ends nothing."""
    runs: list[tuple[int, int]] = []
    for at in range(len(sound) // FRAME):
        if loudness(sound[at * FRAME : (at + 1) * FRAME]) > 8:
            near = runs and at - runs[-1][1] < 60
            runs.append((runs.pop()[0] if near else at, at + 1))
    return runs


def heard(wav: bytes) -> str:
    """The letters that the tones of *wav* stand for."""
    sound = samples(wav)
    letters = ""
    for start, end in spoken(sound)[1:]:
        middle = (start + end) // 2
        halves = (sound[start * FRAME : middle * FRAME], sound[middle * FRAME : end * FRAME])
        first, second = map(tone, halves)
        letters += ALPHABET[5 * first + second]
    return letters


def tone(part: list[int]) -> int:
    """Which of the tones it is, by how often it changes its sign; noise alone does not count."""
    signs = [value > 0 for value in part if abs(value) > 7]
    pitch = sum(a != b for a, b in pairwise(signs)) * RATE / len(part) / 2
    return min(range(len(TONES)), key=lambda one: abs(math.log(TONES[one] / max(pitch, 1))))


def faults(folder: Path) -> list[str]:
    environ = {**ENVIRON, "RESET_ACCOUNTS_URL": "sqlite:////tmp/portal.sqlite"}
    try:
        config.load({**environ, "RESET_CAPTCHA_VOICE_DIR": str(folder)}, folder)
    except ConfigurationError as error:
        return error.faults
    return []


def test_two_processes_speak_the_same_bytes(voice: Voice) -> None:
    """Any process makes the same sound of one challenge, whatever it said before."""
    code = (
        "import sys; from reset.captcha import ALPHABET, audio; "
        "voice = audio.load(audio.VOICE_DIR, ALPHABET); "
        "sys.stdout.buffer.write(audio.speak(sys.argv[1], b'seed', voice))"
    )
    command = [sys.executable, "-c", code, LETTERS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
    speak("DFHJLNRW", b"another", voice)
    assert speak(LETTERS, b"seed", voice) == done.stdout


def test_the_global_generator_is_left_alone(voice: Voice) -> None:
    """The sound neither uses nor moves the generator that the rest of the program shares."""
    random.seed(1)
    before, first = random.getstate(), speak(LETTERS, b"seed", voice)
    assert random.getstate() == before
    random.seed(2)
    assert speak(LETTERS, b"seed", voice) == first


@pytest.mark.parametrize(
    "letters", ["QeAhTg", "WWWWWWt", LETTERS, "XXXXXXXr", "aXFaJRWWX", "gX" * 5]
)
def test_the_sound_is_a_short_wav(voice: Voice, letters: str) -> None:
    """8 bits, mono, 11,025 Hz; eight letters last 15 to 30 seconds in 330 kB at most."""
    for seed in (b"1", b"2", b"3"):
        wav = speak(letters, seed, voice)
        with wave.open(io.BytesIO(wav)) as sound:
            assert sound.getparams()[:3] == (1, 1, RATE)
            assert 15 <= sound.getnframes() / RATE * 8 / len(letters) <= 30
        assert len(wav) * 8 / len(letters) <= 330_000


def test_speech_is_well_over_the_noise(voice: Voice) -> None:
    """By 6 to 13 decibels for each letter; and nothing is so loud that it is cut off."""
    sound = samples(speak(LETTERS, b"seed", voice))
    parts = spoken(sound)
    noise = loudness(sound[-RATE // 2 :])
    over = [20 * math.log10(loudness(sound[a * FRAME : b * FRAME]) / noise) for a, b in parts]
    assert len(over) == 9
    assert min(over) >= 6
    assert max(over) <= 13
    assert max(map(abs, sound)) < 127


def test_no_piece_of_a_sound_occurs_twice(voice: Voice) -> None:
    """Three thousandths of a second are enough to differ: nothing can be looked up by its hash."""
    one, other = (speak(LETTERS, seed, voice)[44:] for seed in (b"1", b"2"))
    known = [one, *((VOICE_DIR / name).read_bytes() for name in CLIPS)]
    pieces = {clip[n : n + 32] for clip in known for n in range(0, len(clip) - 32, 16)}
    assert not any(other[n : n + 32] in pieces for n in range(len(other) - 32))


@pytest.mark.parametrize("letters", [ALPHABET[:9], ALPHABET[9:], LETTERS])
def test_each_letter_has_its_clip(recorded: Path, letters: str) -> None:
    """In the order of the picture."""
    assert heard(speak(letters, b"seed", load(recorded, ALPHABET))) == letters


def test_there_is_time_to_write(recorded: Path) -> None:
    """A second after the opening, and nearly as much after each letter."""
    parts = spoken(samples(speak(LETTERS, b"seed", load(recorded, ALPHABET))))
    pauses = [after[0] - before[1] for before, after in pairwise(parts)]
    assert 95 <= pauses[0] <= 110
    assert all(75 <= pause <= 110 for pause in pauses)


def test_words_of_the_recipe_fit_their_letters() -> None:
    """Each clip is said once, with its case, and with a word that begins with the letter."""
    recipe = (VOICE_DIR / "make.sh").read_text("utf-8")
    said = re.findall(r'^letter (upper|lower)_(\w) "(.*)" (\w+)$', recipe, re.M)
    assert sorted(f"{case}_{name}.wav" for case, name, _, _ in said) == sorted(CLIPS[5:])
    for case, name, words, example in said:
        assert words.endswith({"upper": "mayúscula", "lower": "minúscula"}[case])
        assert example.replace("á", "a")[0] == name


def test_sound_of_a_challenge_names_its_letters(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    recorded: Path,
) -> None:
    """What a person hears is what another one sees; with the office's own voice, too."""
    visitor = make_visitor(make_app(captcha_voice=load(recorded, ALPHABET)))
    challenge = visitor.challenge()
    sound = visitor.client.get(f"/captcha/{challenge}.wav")
    assert sound.mimetype == "audio/wav"
    assert heard(sound.data) == answer(challenge, [KEY])


def test_two_sounds_of_the_same_letters_differ(visitor: Visitor) -> None:
    """Each challenge has its own noise, which its letters do not tell."""
    captcha = visitor.parts.captcha
    first, second = (visitor.challenge() for _ in "ab")
    assert captcha.sound(first) == captcha.sound(first)
    assert loudness(samples(captcha.sound(first))[: RATE // 5]) > 2
    assert captcha.sound(first)[44:2000] != captcha.sound(second)[44:2000]


def test_spent_and_old_challenge_still_sounds(visitor: Visitor) -> None:
    """As its picture still shows: going back to a page must not break it."""
    challenge = visitor.challenge()
    visitor.ask(challenge=challenge)
    visitor.clock.advance(hours=1)
    assert visitor.client.get(f"/captcha/{challenge}.wav").status_code == 200


def test_strange_challenge_does_not_sound(visitor: Visitor) -> None:
    """Only our challenges are spoken."""
    assert visitor.client.get("/captcha/xyz.wav").status_code == 404


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-1", 0, 2), ("bytes=1000-", 1000, None), ("bytes=-500", -500, None)],
)
def test_safari_gets_pieces_of_one_sound(
    visitor: Visitor, asked: str, first: int, last: int | None
) -> None:
    """It asks for two bytes first, and plays only what answers with pieces of the same bytes."""
    path = f"/captcha/{visitor.challenge()}.wav"
    whole = visitor.client.get(path)
    piece = visitor.client.get(path, headers={"Range": asked, "If-Range": whole.headers["ETag"]})
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert piece.status_code == 206
    assert piece.data == whole.data[first:last]
    begin = range(len(whole.data))[first]
    total = f"{begin}-{begin + len(piece.data) - 1}/{len(whole.data)}"
    assert piece.headers["Content-Range"] == f"bytes {total}"


def test_piece_behind_the_end_is_told(visitor: Visitor) -> None:
    """With the true length, so that a player can ask again."""
    path = f"/captcha/{visitor.challenge()}.wav"
    length = visitor.client.head(path).content_length
    answered = visitor.client.get(path, headers={"Range": f"bytes={length}-"})
    assert (answered.status_code, answered.headers["Content-Range"]) == (416, f"bytes */{length}")


def test_sound_that_the_browser_has_is_not_sent_again(visitor: Visitor) -> None:
    """HEAD tells its size and tag; with the tag, nothing more is sent."""
    path = f"/captcha/{visitor.challenge()}.wav"
    head = visitor.client.head(path)
    assert (head.status_code, head.data) == (200, b"")
    assert 165_000 < (head.content_length or 0) < 330_000
    again = visitor.client.get(path, headers={"If-None-Match": head.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_sounds_are_limited(visitor: Visitor) -> None:
    """One client gets 60 pieces a minute: to listen five times, in ten pieces each, is no abuse."""
    path = f"/captcha/{visitor.challenge()}.wav"
    answers = [visitor.client.get(path, headers={"Range": "bytes=0-1"}) for _ in range(61)]
    assert [answer.status_code for answer in answers] == [206] * 60 + [429]
    assert visitor.client.get(path.replace(".wav", ".png")).status_code == 200


@pytest.mark.parametrize(("rate", "bits", "channels"), [(44_100, 16, 2), (48_000, 8, 1)])
def test_own_recording_may_be_quiet_and_of_any_rate(
    recorded: Path, rate: int, bits: int, channels: int
) -> None:
    """As Audacity exports it, with silence around: it is heard like the others."""
    silence = [0.0] * rate
    speech = tones(*divmod(ALPHABET.index("Q"), 5), rate=rate, loud=0.1)
    quiet = [*silence, *speech, *silence]
    record(recorded / "upper_q.wav", quiet, rate=rate, bits=bits, channels=channels)
    wav = speak("QeQhQg", b"seed", load(recorded, ALPHABET))
    sound = samples(wav)
    parts = spoken(sound)[1:]
    levels = [loudness(sound[a * FRAME : b * FRAME]) for a, b in parts]
    assert heard(wav) == "QeQhQg"
    assert max(levels) / min(levels) < 1.5
    assert all(38 <= b - a <= 52 for a, b in parts)


def test_crack_in_a_recording_does_not_cut_the_sound(recorded: Path) -> None:
    """What is loud for a moment is rounded off, and the rest is as loud as elsewhere."""
    speech = tones(1, 1, loud=0.1)
    record(recorded / "lower_g.wav", [*speech[:2000], 1.0, 1.0, -1.0, -1.0, *speech[2000:]])
    sound = samples(speak("g" * 6, b"seed", load(recorded, ALPHABET)))
    assert 80 < max(map(abs, sound)) < 127


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is missing"),
        (b"", "is no WAV file with PCM samples of 8 or 16 bits"),
        (b"ID3 some MP3", "is no WAV file with PCM samples of 8 or 16 bits"),
        ({"samples": [0.0] * RATE}, "is silent"),
        ({"samples": []}, "is empty"),
        ({"samples": tones(*[1] * 21)}, "must last 0.3 to 4 seconds"),
        ({"samples": [0.5] * 25 * RATE}, "must last 0.3 to 4 seconds"),
        ({"samples": tones(1)}, "must last 0.3 to 4 seconds"),
        ({"samples": tones(1, 1), "rate": 4000}, "must be mono or stereo with 8 or 16 bits and"),
        ({"samples": tones(1, 1), "channels": 3}, "must be mono or stereo with 8 or 16 bits and"),
    ],
)
def test_recording_of_no_use_is_told(recorded: Path, content: object, said: str) -> None:
    """At start, in one line with the name of the file."""
    path = recorded / "lower_t.wav"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        record(path, **content)
    (fault,) = faults(recorded)
    assert fault.startswith(f"RESET_CAPTCHA_VOICE_DIR: lower_t.wav {said}")


def test_all_recordings_that_are_missing_are_told_at_once(recorded: Path, tmp_path: Path) -> None:
    """An empty folder: one line for each of the 23 files; a full one: none."""
    (tmp_path / "empty").mkdir()
    assert len(faults(tmp_path / "empty")) == 23
    assert faults(recorded) == []


def test_manual_lists_every_recording() -> None:
    """Who records knows all names."""
    manual = (ROOT / "docs" / "captcha.md").read_text("utf-8")
    assert [name for name in CLIPS if name not in manual] == []


def test_voice_of_the_settings_speaks(settings: Settings, recorded: Path) -> None:
    """RESET_CAPTCHA_VOICE_DIR is who is heard; without it the voice that comes along."""
    environ = {**ENVIRON, "RESET_ACCOUNTS_URL": "sqlite:////tmp/portal.sqlite"}
    own = config.load({**environ, "RESET_CAPTCHA_VOICE_DIR": str(recorded)}, recorded)
    assert own.captcha_voice
    assert heard(speak(LETTERS, b"seed", own.captcha_voice)) == LETTERS
    assert settings.captcha_voice is None
