"""Alice's look at her own slices before anything of them is sent: how much lies beyond what the model was calibrated for.

Beyond the calibrated range tensors may wrap, and the mask is then wrong without a sign of it. Bob cannot see that; Alice can.
She is warned and nothing is refused: a session that ended here would tell Bob something of her slices.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bunet.models.files.atomic import write_atomic
from bunet.models.program import Program
from bunet.parties.events import Note, Subscriber
from bunet.parties.input_slices import InputSlices

FILE = "alice-beyond.json"
UNSAID = "Bob's program does not say for which values it was calibrated, so yours are not compared"


def check(program: Program, slices: InputSlices, emit: Subscriber) -> dict[str, float]:
    """{`z20`: share of its values beyond the calibrated range} of the slices that have any; a Note where one has.

    Counted are a slice's own pixels: the middle channel, its neighbours being slices of their own, without what it is padded
    by.
    """
    limit = limit_of(program)
    if limit is None:
        emit(Note("alice", UNSAID))
        return {}
    shares = {
        f"{axis}{index}": share
        for k, (axis, index) in enumerate(slices.labels)
        if (share := share_beyond(program, slices.at(program, k), slices.size))
    }
    if shares:
        emit(Note("alice", remark(limit, shares, len(slices.labels))))
    return shares


def save(shares: Mapping[str, float], folder: Path) -> None:
    """Leave `check`'s shares in a local run's folder, for `load`. Raises DiskFull, OSError."""
    write_atomic(folder / FILE, lambda stream: stream.write(json.dumps(dict(shares)).encode()))


def load(folder: Path) -> dict[str, float]:
    """What `save` left."""
    return dict(json.loads((folder / FILE).read_text()))


def limit_of(program: Program) -> float | None:
    """The largest magnitude that the model was calibrated on, as a real number; None where the program does not say."""
    return None if program.calibrated is None else float(np.ldexp(float(program.calibrated), -program.input.type.frac))


def share_beyond(program: Program, image: np.ndarray, size: tuple[int, int] | None = None) -> float:
    """Share of a quantised slice's own pixels (`check`) beyond the calibrated range, 0 to 1."""
    height, width = size or image.shape[1:]
    own, limit = image[len(image) // 2, :height, :width], program.calibrated
    return 0.0 if limit is None else float(np.mean((own > limit) | (own < -limit)))


def remark(limit: float, shares: Mapping[str, float], slices: int) -> str:
    """What a person should read of `check`'s shares, one sentence. limit: as `limit_of` gives it. slices: of how many."""
    worst = max(shares, key=lambda name: shares[name])
    head = f"{percent(shares[worst])} of the values of slice {worst} lie"
    if len(shares) > 1:
        head = f"values of {len(shares)} of {slices} slices, at most {percent(shares[worst])} of them (slice {worst}), lie"
    return f"{head} beyond what the model was calibrated for (-{limit:g}..{limit:g}): the mask may be wrong there"


def percent(share: float) -> str:
    """Such as `3.1 %`; never 0 of something."""
    return f"{100 * share:.1f} %" if share >= 0.0005 else "less than 0.1 %"
