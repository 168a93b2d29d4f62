"""`python -m tests.fuzz.seeds`: write the fuzzer's seeds again, by the code's own writers.

Due whenever a format's version changes: a seed that its reader refuses at once leads the fuzzer nowhere, and test_corpus says
so. Inputs that were once findings lie beside them and stay as they are.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from bunet.experiments.bench.case import UNITS
from bunet.experiments.predict.case import OPENED
from bunet.models.compiled import FILE, Compiled, save_compiled
from bunet.models.errors import PeerError
from bunet.models.files import sealed
from bunet.models.model_card import ModelCard
from bunet.models.network import weights
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_slice, seeded_weights
from bunet.models.passes.compile import compile_model
from bunet.models.volumes.volume import DICOM, Volume
from bunet.net.channel import ChannelError
from bunet.net.frame import Control, Frame, encode
from bunet.net.keys import keygen
from bunet.parties import outcomes, shares
from bunet.parties.run_options import RunOptions
from bunet.parties.session import handshake as session
from bunet.parties.session.handshake import Request
from bunet.parties.store import Offer
from bunet.parties.vote import ballots
from bunet.parties.vote import session as vote_session
from bunet.parties.vote.session import VoteTerms
from tests.fuzz.__main__ import CORPUS
from tests.fuzz.sealed_contents import contents_of

SESSION = "0" * 32
SMALL = Architecture(features=1, in_channels=1, depth=1)
CARD = ModelCard("lung", "z", "small", "1", 8)
REQUEST = Request((1, 8, 8), 1, session=SESSION)
VOTE = VoteTerms((2, 2, 2), ("infection-x", "lung-x"), {"infection-x": "a", "lung-x": "b"}, RunOptions())
EXPERIMENTS = {
    "small": "name: a\ngrid: {sizes: [32], features: [4]}\n",
    "voted": "name: b\ntitle: t\nslices: 2\ngrid:\n  links: [lan, {bandwidth: 1Mbit, rtt: 2ms}]\n  ot: [iknp]\n",
}
TEXTS = (
    "3:5",
    "128",
    "1.5Gbit/s",
    "96x128",
    "8.4",
    "200Mbit,20ms",
    "wan",
    "relu=gc",
    "20ms",
    "tcp://127.0.0.1:7010",
    "tcp://[::1]:*",
    "5",
    "1,2",
    "z=3:5,y=2:4",
    "lan",
    "100Mbit",
    "name@2",
)
HU = (np.indices((2, 12, 14)).sum(axis=0) * 80 - 1000).astype(np.int16)  # smooth, or JPEG-LS has no room for its own code
SPACED = np.array([[0, 0, 0.8, -200.0], [0, 0.7, 0, -180], [2.5, 0, 0, 30], [0, 0, 0, 1]])
MASKS = {"infection": (HU > 1000).astype(np.uint8), "lung": (HU > 0).astype(np.uint8)}


@functools.cache
def small_model() -> Compiled:
    image = seeded_slice(SMALL, 8, 8, 1)
    made = compile_model(seeded_weights(SMALL), 8, 8, "8.4", [image])
    return Compiled(made.program, made.weights, CARD, bytes(32))


def small_offer() -> Offer:
    return Offer(small_model().program, CARD, small_model().commitment)


def placed(values: Any) -> Volume:
    return Volume(values, SPACED, DICOM)


class Recorder:
    """A channel that keeps what is said, and on whose other side somebody says what he was given."""

    def __init__(self, *answers: Control) -> None:
        self.said: list[Control] = []
        self._answers = list(answers)

    def send(self, message: Any) -> None:
        self.said.append(message)

    def receive(self, timeout: float | None = None) -> Control:
        if not self._answers:
            raise ChannelError("the peer has left")
        return self._answers.pop(0)


def _spoken(channel: Recorder) -> bytes:
    body = {name: value for name, value in channel.said[0].body.items() if name not in ("version", "protocol")}
    return json.dumps(body).encode()  # without the version: the target adds that of the day


def handshake() -> dict[str, bytes]:
    alice = Recorder()
    with suppress(PeerError):
        session.ask(alice, REQUEST)  # type: ignore[arg-type]
    bob = Recorder(alice.said[0])
    with suppress(PeerError):
        session.answer(bob, lambda *_: small_offer())  # type: ignore[arg-type]
    return {"open": _spoken(alice), "accept": _spoken(bob)}


def vote() -> dict[str, bytes]:
    alice = Recorder()
    with suppress(PeerError):
        vote_session.ask(alice, VOTE)  # type: ignore[arg-type]
    bob = Recorder(alice.said[0])
    vote_session.answer(bob, VOTE)  # type: ignore[arg-type]
    return {"open": _spoken(alice), "accept": _spoken(bob)}


def run_json() -> dict[str, bytes]:
    model = small_model()
    noted = {
        "axis": "z",
        "size": "8x8",
        "program": model.program.digest(),
        "model": CARD.to_document(),
        "commitment": model.commitment,
    }
    return {"run": json.dumps(noted, indent=2).encode()}


def key(folder: Path) -> dict[str, bytes]:
    keygen(folder / "a.key", "St. Mary")
    return {"pair": (folder / "a.key").read_bytes(), "allowed": (folder / "a.key.pub").read_bytes()}


def message() -> dict[str, bytes]:
    frame = Frame(1, 2, 3, 1, "a", (np.arange(6, dtype=np.uint64).reshape(2, 3),))
    return {name: _parts(said) for name, said in (("control", Control("hello", {"a": 1})), ("frame", frame))}


def _parts(said: Control | Frame) -> bytes:
    return b"".join(len(bytes(part)).to_bytes(2, "little") + bytes(part) for part in encode(said).parts(0.0))


def of_sealed(folder: Path) -> dict[str, dict[str, bytes]]:
    """Each kind of our own files: `small`, the file, and `contents`, which the target seals."""
    import torch

    from bunet.models.training.files import CHECKPOINT, write_tensors

    bits = (HU[0] > 0).astype(np.uint8)
    votes = np.arange(8, dtype=np.uint8).reshape(2, 2, 2) % 2
    save_compiled(small_model(), folder / "m")
    weights.save(seeded_weights(SMALL), folder / "w", half=True, notes={"axis": "z", "ranges": {"input": 1.0}})
    outcomes.write(folder, 7, bits)
    shares.write(folder, ("z", 7), SESSION, bits)
    ballots.write(folder, "lung-x", votes)
    made = {
        "compiled": (folder / "m", FILE),
        "weights": (folder / "w", weights.FILE),
        "slice": (outcomes.path_of(folder, 7), outcomes.FILE),
        "share": (shares.path_of(folder, ("z", 7), SESSION), shares.FILE),
        "ballot": (folder / "lung-x.ballot", ballots.FILE),
    }
    write_tensors({"model.a": torch.arange(6.0).reshape(2, 3)}, folder / "c", {"config": "{}", "state": '{"step": 1}'})
    made["checkpoint"] = (folder / "c", CHECKPOINT)
    found = {name: {"small": path.read_bytes(), "contents": contents_of(path, kind)} for name, (path, kind) in made.items()}
    sealed.save(folder / "v", OPENED, {"mask": votes})
    found["slice"]["vote"] = (folder / "v").read_bytes()
    return found


def _npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def pth(folder: Path) -> dict[str, bytes]:
    import torch

    from bunet.models.network.unet import from_weights

    state, found = {"state_dict": from_weights(seeded_weights(SMALL)).half().state_dict()}, {}
    for name, zipped in (("small", True), ("small-legacy", False)):
        torch.save(state, folder / name, _use_new_zipfile_serialization=zipped)
        found[name] = (folder / name).read_bytes()
    return found


def labels() -> dict[str, bytes]:
    return {
        "inside": _npz(array=HU, infection=MASKS["infection"]),
        "lungs": _npz(ct=HU, lesion=MASKS["infection"], lung=MASKS["lung"] * 2, spacing_zyx_mm=np.array([2.5, 0.7, 0.8])),
        "label": _npz(array=MASKS["infection"]),
    }


def dicom(folder: Path) -> dict[str, dict[str, bytes]]:
    """Slices, plain and compressed, an enhanced file of two frames, and a Segmentation."""
    import pydicom

    from bunet.models.volumes.dicom.segmentation import write_segmentation
    from bunet.models.volumes.formats import read_volume
    from tests.models.volumes.test_dicom import write_ct

    series = write_ct(folder / "ct", HU, SPACED, names=["0.dcm", "1.dcm"])
    found = {"slice": (series / "0.dcm").read_bytes()}
    for name in ("JPEGLSLossless", "RLELossless"):
        data = pydicom.dcmread(series / "0.dcm")
        data.compress(getattr(pydicom.uid, name), generate_instance_uid=False)
        data.save_as(folder / name, enforce_file_format=True)
        found[{"JPEGLSLossless": "jpeg-ls", "RLELossless": "rle"}[name]] = (folder / name).read_bytes()
    found["frames"] = _enhanced(pydicom, series, folder / "frames")
    write_segmentation(read_volume(series), MASKS, folder / "seg")
    return {"dicom": found, "segmentation": {"both": (folder / "seg").read_bytes()}}


def _enhanced(pydicom: Any, series: Path, path: Path) -> bytes:
    slices = [pydicom.dcmread(series / f"{k}.dcm") for k in range(2)]
    data, shared, frames = slices[0], pydicom.Dataset(), []
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    data.NumberOfFrames = 2
    for sequence, names in (
        ("PlaneOrientationSequence", ("ImageOrientationPatient",)),
        ("PixelMeasuresSequence", ("PixelSpacing", "SliceThickness")),
        ("PixelValueTransformationSequence", ("RescaleSlope", "RescaleIntercept")),
    ):
        group = pydicom.Dataset()
        for name in names:
            setattr(group, name, data[name].value)
            del data[name]
        setattr(shared, sequence, [group])
    for one in slices:
        plane, frame = pydicom.Dataset(), pydicom.Dataset()
        plane.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = [plane]
        frames.append(frame)
    data.PixelData = slices[0].PixelData + slices[1].PixelData
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], frames
    del data.ImagePositionPatient
    data.save_as(path, enforce_file_format=True)
    return path.read_bytes()


def made(folder: Path) -> dict[str, dict[str, bytes]]:
    """Seeds by target and name."""
    baseline = {
        "format": "bunet-kernels",
        "version": 1,
        "environment": {},
        "kernels": [{"name": "x", "unit": next(iter(UNITS)), "median": 1.0, "quartiles": [1.0, 2.0]}],
    }
    return {
        **of_sealed(folder),
        **dicom(folder),
        "pth": pth(folder),
        "labels": labels(),
        "handshake": handshake(),
        "vote": vote(),
        "run-json": run_json(),
        "program": {"program": small_model().program.to_json().encode()},
        "key": key(folder),
        "message": message(),
        "experiment": {name: text.encode() for name, text in EXPERIMENTS.items()},
        "texts": {str(number): text.encode() for number, text in enumerate(TEXTS)},
        "journals": {
            "point": b'{"identity":"0","point":{},"document":{}}\n',
            "baseline": json.dumps(baseline).encode(),
        },
        "nifti-gz": {"plain": gzip.compress((CORPUS / "nifti" / "plain").read_bytes(), mtime=0)},
    }


def main(write: Callable[[str], None] = print) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for target, seeds in made(Path(folder)).items():
            (CORPUS / target).mkdir(exist_ok=True)
            for name, data in seeds.items():
                (CORPUS / target / name).write_bytes(data)
            write(f"{target}: {', '.join(f'{name} ({len(data)} bytes)' for name, data in seeds.items())}")


if __name__ == "__main__":
    main()
