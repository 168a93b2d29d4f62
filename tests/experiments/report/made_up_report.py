"""A report's data from a synthetic chest, and session documents as a ledger makes them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from bunet.experiments.report.page import ReportData
from bunet.experiments.report.tables import Score, Stage
from bunet.models.metrics import agreement
from bunet.models.volumes.synthetic import SyntheticVolume, generate
from bunet.parties.events import (
    LayerFinished,
    LayerPlan,
    SessionFinished,
    SessionStarted,
    SetupFinished,
    SliceFinished,
    SliceStarted,
)
from bunet.parties.ledger import Ledger

LAYERS = (
    LayerPlan("encoder1.conv1", "conv", "pahe-coefficient", (16, 64, 64), 25),
    LayerPlan("encoder1.relu1", "relu", "gc-sign", (16, 64, 64), 12),
    LayerPlan("encoder1.relu1.extend", "extend", "ot", (16, 64, 64), 23),
    LayerPlan("encoder1.pool", "avgpool", "local", (16, 32, 32), 23),
    LayerPlan("readout", "readout", "argmax", (1, 64, 64), 2),
)


def document(slices: int = 2) -> dict[str, Any]:
    """Layer n of every slice computes n s, waits n/2 s, sends n MiB and receives n KiB in n rounds; the set-up takes 1 s."""
    ledger = Ledger()
    ledger(SessionStarted("alice", "d1", "8.4", LAYERS, "lan", slices, slices))
    ledger(SetupFinished("alice", 1.0, 1000, 2000, 2))
    for k in range(slices):
        ledger(SliceStarted("alice", k, "z", 10 + k))
        for n, line in enumerate(LAYERS, 1):
            sizes = n << 20, n << 10
            ledger(LayerFinished("alice", k, n - 1, line.name, line.operation, line.protocol, n, n / 2, *sizes, n))
        ledger(SliceFinished("alice", k, "z", 10 + k, 22.5))
    ledger(SessionFinished("alice", 30.0, 31 << 20, 31 << 10, 1 << 30))
    ledger(SessionFinished("bob", 30.0, 31 << 10, 31 << 20, 1 << 30))
    return ledger.document(link={"name": "lan"}, environment={}, dice={"float": 0.9876}, verified=True)


@cache
def _chest(size: int, slices: int) -> SyntheticVolume:
    return generate(size, slices, seed=5, lesions=3)


def report_data(size: int = 64, slices: int = 24, **changes: Any) -> ReportData:
    """A chest with its lesion as the truth, and masks that miss a column of it."""
    chest = _chest(size, slices)
    truth = chest.lesion.astype(np.uint8)
    secure = truth & np.roll(truth, 1, axis=2)
    facts: dict[str, Any] = {
        "title": "Lung infection", "case": "chest 5", "created": "2026-11-23",
        "facts": [("Format", "8.4"), ("Link", "lan")],
        "volume": chest.volume,
        "masks": {"truth": truth, "secure": secure, "float": secure, "lung": chest.lung.astype(np.uint8)},
        "spacing": (2.0, 2.0, 2.0),
        "scores": [Score("secure mask against the experts' label", agreement(secure, truth))],
        "shares": [("infected share of the lung, found", 100 * secure.sum() / chest.lung.sum())],
        "volumes": [
            ("secure mask", int(secure.sum()), 0.008 * int(secure.sum())),
            ("lung", int(chest.lung.sum()), 0.008 * int(chest.lung.sum())),
        ],
        "scope": "in 24 of 240 slices, maximum filter off", "hu": (-1250.0, 250.0),
        "remarks": ["intensities of chest.nii.gz: rule `hu`", "the scanner's table is within the volume"],
        "stages": [Stage("infection along z", document()), Stage("the vote", document(1)), Stage("float", None)],
    }  # fmt: skip
    return ReportData(**{**facts, **changes})
