"""ITK of two generations, each in its own environment: where it finds the corners of images that BUNET read and wrote."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
VERSIONS = {"5.3": ("BUNET_ITK53", "2.3.1"), "5.4": ("BUNET_ITK54", "2.5.7")}  # SimpleITK's own number
PROGRAM = r"""
import json, os, sys
import SimpleITK as sitk
sitk.ProcessObject_SetGlobalWarningDisplay(False)
out = []
for path in json.load(sys.stdin):
    try:
        image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(path) if os.path.isdir(path) else path)
    except RuntimeError:
        out.append(None)
        continue
    size = image.GetSize()[:3]
    grid = [(x, y, z) for x in (0, size[0] - 1) for y in (0, size[1] - 1) for z in (0, size[2] - 1)]
    rest = (0,) * (image.GetDimension() - 3)
    out.append([image.TransformIndexToPhysicalPoint(index + rest)[:3] for index in grid])
print(sitk.Version_ITKVersionString() if hasattr(sitk, "Version_ITKVersionString") else sitk.Version.ITKVersionString())
print(json.dumps(out))
"""


def interpreter(version: str) -> str:
    """Of an environment with that ITK: from the variable, or as `make itk` leaves it. Skips the test where there is none."""
    variable, number = VERSIONS[version]
    found = os.environ.get(variable) or str(ROOT / ".itk" / number / "bin" / "python")
    if not Path(found).exists():
        pytest.skip(f"no ITK {version} (`make itk`, or set {variable} to an interpreter with SimpleITK {number})")
    return found


def corners(version: str, paths: Sequence[Path]) -> list[np.ndarray | None]:
    """(8, 3) millimetres for each file, or folder with a DICOM series; None for one that ITK does not read."""
    run = subprocess.run(
        [interpreter(version), "-W", "ignore", "-c", PROGRAM],
        input=json.dumps([str(path) for path in paths]),
        capture_output=True,
        text=True,
        check=True,
    )
    *_, known, found = run.stdout.strip().splitlines()
    assert known.startswith(version), f"ITK {known} where {version} is wanted"
    return [None if one is None else np.array(one) for one in json.loads(found)]
