"""`bunet synthesise`, `bunet fingerprint`: a volume to try things with, and keys that two people compare by telephone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bunet.experiments.commands import options as o
from bunet.experiments.one_line import say
from bunet.experiments.settings import DEMO_SIZE
from bunet.experiments.storage.places import writable_parent
from bunet.models.errors import UsageError

CHEST_MM = 350.0  # across the volume: about what a scanner's field of view is for a chest


def register(app: typer.Typer) -> None:
    """Add the two commands to the command line."""
    app.command("synthesise")(synthesise)
    app.command("fingerprint")(fingerprint)


def synthesise(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where it goes: .npz or NIfTI (.nii, .nii.gz).")],
    size: o.SizeOption = DEMO_SIZE,
    slices: Annotated[int, typer.Option("--slices", min=1, max=1024, help="How many, from the middle of the chest.")] = 32,
    seed: Annotated[int | None, typer.Option("--seed", help="Another chest than the demo's.")] = None,
) -> None:
    """Write a synthetic chest CT in Hounsfield units, of nobody: for trying commands out where no volume is at hand.

    Examples:

      bunet synthesise chest.npz

      bunet synthesise chest.nii.gz --size 256 --slices 64 --seed 7
    """
    import numpy as np

    from bunet.models.volumes import formats, synthetic
    from bunet.models.volumes.content.intensity import HU_WINDOW
    from bunet.models.volumes.volume import NIFTI, NPZ, Volume

    writable_parent("the volume", path)
    if formats.format_of(path) not in (NPZ, NIFTI):
        raise UsageError(f"{path}: a synthetic chest is an .npz or a NIfTI file (.nii, .nii.gz)")
    try:
        made = synthetic.embedded(size, slices) if seed is None else synthetic.generate(size, slices, seed)
    except UsageError as error:
        raise UsageError(f"--size, --slices, --seed: {error}") from error
    low, high = HU_WINDOW
    hounsfield = np.rint(low + made.volume * np.float32(high - low)).astype(np.int16)
    step = CHEST_MM / size
    affine = np.array([[0, 0, step, 0], [0, step, 0, 0], [step, 0, 0, 0], [0, 0, 0, 1]])
    formats.write(Volume(hounsfield, affine, NPZ), path)
    say(f"{path}: a synthetic chest, {slices}x{size}x{size} voxels of {step:.2f} mm, in Hounsfield units")


def fingerprint(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Public keys (.pub), allow-lists or key files.")],
) -> None:
    """Show the fingerprint of each public key in files, as `bunet keygen` did when it made them.

    Whoever gets a key from somebody else compares it with what its owner sees, by telephone: who could exchange one key for
    another on its way could be in the middle of every session.

    Example: bunet fingerprint bob.key.pub
    """
    from bunet.net import keys

    for path in paths:
        for key, name in keys.public_keys(path).items():
            say(f"{keys.fingerprint(key)}  {name}  ({path})")
