"""The captcha's sound: each letter's name, its case and a word with it, over a low rush of noise.

The clips are public. Each is stretched and scaled anew and lies under noise, so that no part of a
sound can be looked up among them; a program that listens is not stopped by that.
"""

from __future__ import annotations

import random
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from math import tanh
from pathlib import Path
from typing import cast

from PIL import Image, ImageChops, ImageFilter

from reset.errors import ConfigurationError

VOICE_DIR = Path(__file__).parent / "voice"
LENGTHS = range(6, 11)  # Letters of a challenge; each number has its opening.
# The one format that every browser plays and that needs no encoder: 8 bits, mono.
RATE = 11_025
SHORTEST, LONGEST = 0.3, 4.0  # Seconds of one clip, without the silence around it.
_WANTED = f"must last {SHORTEST} to {LONGEST:.0f} seconds"
LONGEST_FILE = 20.0
SILENT = 0.01  # A recording whose loudest sample is below, as a share of full scale.

# Samples are pixels of pictures one pixel high: Pillow resamples and mixes them without numpy.
MIDDLE = 128
EDGE = 4  # Around speech all samples of a clip are nearer to the middle.
MARGIN = int(0.03 * RATE)
# Root mean squares: the noise is 9 to 12 dB below speech.
SPEECH, NOISE = 15.0, 3.8
PEAK = 110  # What is louder for a moment is rounded off.
# Neighbours averaged: less hiss, which would cover just what tells one consonant from another.
RUSH = ImageFilter.BoxBlur((2, 0))
BEFORE, AFTER_OPENING = 0.3, 1.0  # Seconds; wireless headphones swallow the first moments.


@dataclass(frozen=True)
class Voice:
    """Who speaks: a clip for each number of letters and for each letter, equally loud."""

    openings: Mapping[int, Image.Image]
    letters: Mapping[str, Image.Image]


@cache
def load(folder: Path, alphabet: str) -> Voice:
    """Read the clips in *folder*: `upper_q.wav`, `lower_e.wav`, `opening_8.wav` and so on.

    They are WAV files with PCM samples of 8 or 16 bits, of any rate from 8000, mono or stereo.

    Raises:
        ConfigurationError: with one sentence for each clip that is missing or of no use.
    """
    if not folder.is_dir():
        raise ConfigurationError([f"{folder} is no folder"])
    faults: list[str] = []
    openings = {length: _clip(folder / f"opening_{length}.wav", faults) for length in LENGTHS}
    letters = {letter: _clip(folder / file_name(letter), faults) for letter in alphabet}
    if faults:
        raise ConfigurationError(faults)
    return Voice(openings, letters)


def file_name(letter: str) -> str:
    """The clip of *letter*; its case is a word, as some file systems do not tell a from A."""
    return f"{'upper' if letter.isupper() else 'lower'}_{letter.lower()}.wav"


def speak(letters: str, seed: bytes, voice: Voice) -> bytes:
    """Say *letters* as a WAV file; the same letters, seed and voice give the same bytes.

    *seed* is secret: it decides everything else, so whoever knows it can take the noise away.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable by design; the seed is what is secret.
    clips = [voice.openings[len(letters)], *(voice.letters[letter] for letter in letters)]
    pauses = [AFTER_OPENING, *(rng.uniform(0.8, 1.0) for _ in letters)]
    line, at = [], int(BEFORE * RATE)
    for clip, pause in zip(clips, pauses, strict=True):
        line.append((at, _varied(clip, rng)))
        at += line[-1][1].width + int(pause * RATE)
    speech = Image.new("L", (at, 1), MIDDLE)
    for start, clip in line:
        speech.paste(clip, (start, 0))
    return _wav(ImageChops.add(speech, _noise(at, rng), offset=-MIDDLE))


def _varied(clip: Image.Image, rng: random.Random) -> Image.Image:
    width = round(clip.width * rng.uniform(0.92, 1.1))
    gain = rng.uniform(0.8, 1.0)
    return _scaled(clip.resize((width, 1), Image.Resampling.BICUBIC), gain)


def _noise(width: int, rng: random.Random) -> Image.Image:
    rush = Image.frombytes("L", (width, 1), rng.randbytes(width)).filter(RUSH)
    return _scaled(rush, NOISE / _loudness(rush))


def _scaled(samples: Image.Image, gain: float) -> Image.Image:
    return samples.point([round(MIDDLE + (value - MIDDLE) * gain) for value in range(256)])


def _loudness(samples: Image.Image) -> float:
    """The root mean square of *samples*."""
    squares = ((value - MIDDLE) ** 2 * count for value, count in enumerate(samples.histogram()))
    return float((sum(squares) / samples.width) ** 0.5)


def _wav(samples: Image.Image) -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(RATE)
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def _clip(path: Path, faults: list[str]) -> Image.Image:
    """The recording in *path* as a sound uses it; what is wrong with it is added to *faults*."""
    try:
        return _prepared(_recording(path))
    except FileNotFoundError:
        faults.append(f"{path.name} is missing")
    except (EOFError, OSError, wave.Error):
        faults.append(f"{path.name} is no WAV file with PCM samples of 8 or 16 bits")
    except ValueError as error:
        faults.append(f"{path.name} {error}")
    return Image.new("L", (1, 1))


def _recording(path: Path) -> Image.Image:
    """The samples in *path* as one line of numbers from -1 to 1, mono and at our rate."""
    with wave.open(str(path)) as sound:
        channels, width, rate, frames = sound.getparams()[:4]
        if width not in (1, 2) or channels not in (1, 2) or rate < 8000:
            raise ValueError("must be mono or stereo with 8 or 16 bits and 8000 Hz or more")
        if frames > LONGEST_FILE * rate:
            raise ValueError(_WANTED)
        samples = sound.readframes(frames)
    size = (channels, len(samples) // (channels * width))
    if not size[1]:
        raise ValueError("is empty")
    samples = samples[: size[0] * size[1] * width]
    picture = Image.frombytes("F", size, samples, "raw", "F;8" if width == 1 else "F;16S")
    scale, offset = (1 / 128, -1.0) if width == 1 else (1 / 32_768, 0.0)
    length = round(size[1] * RATE / rate)
    one = picture.resize((1, length), Image.Resampling.LANCZOS).transpose(Image.Transpose.ROTATE_90)
    return one.point(lambda value: value * scale + offset)


def _prepared(recording: Image.Image) -> Image.Image:
    """Without the silence around it, in 8 bits and as loud as the other clips."""
    low, high = cast(tuple[float, float], recording.getextrema())
    peak = max(-low, high)
    if peak < SILENT:
        raise ValueError("is silent")
    clip = recording.point(lambda value: value * (127 / peak) + MIDDLE + 0.5).convert("L")
    loud = clip.point([abs(v - MIDDLE) > EDGE for v in range(256)]).getbbox() or (0, 0, 0, 1)
    clip = clip.crop((max(0, loud[0] - MARGIN), 0, min(clip.width, loud[2] + MARGIN), 1))
    if not SHORTEST * RATE <= clip.width <= LONGEST * RATE:
        raise ValueError(_WANTED)
    gain = SPEECH / _loudness(clip) / PEAK
    return clip.point([round(MIDDLE + PEAK * tanh((v - MIDDLE) * gain)) for v in range(256)])
