"""How numbers, bytes and durations are written, in tables, lines and reports alike."""

from __future__ import annotations

MIB = 1 << 20


def counted(count: int, thing: str) -> str:
    """`1 slice`, `2 slices`: things whose plural ends in s."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def shorten(name: str, width: int) -> str:
    """The name in at most `width` cells: `encoder1.conv1` becomes `enc1.conv1`, then `enc1.con1`, then is cut off."""
    parts = name.split(".")
    for index, part in enumerate(parts if len(parts) > 1 else []):
        if len(name) <= width:
            break
        stem = part.rstrip("0123456789")
        parts[index] = stem[:3] + part[len(stem) :]
        name = ".".join(parts)
    return name if len(name) <= width else name[: max(0, width - 1)] + "…"


def number(value: float, known: bool = True) -> str:
    """Seconds in at most six cells; empty where nothing is known."""
    if not known:
        return ""
    if value >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 0.095 or value == 0 else f"{value:.3f}"


def mebibytes(nbytes: int, slices: int = 1) -> str:
    """Bytes a slice, in MiB, in at most seven cells; empty where no slice has finished."""
    if not slices:
        return ""
    value = nbytes / slices / MIB
    if value == 0:
        return "0"
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def rate(bps: float) -> str:
    """Bits a second as text."""
    return f"{bps / 1e9:.2f} Gbit/s" if bps >= 1e9 else f"{bps / 1e6:.1f} Mbit/s" if bps >= 1e5 else f"{bps / 1e3:.0f} kbit/s"


def duration(seconds: float) -> str:
    """`45 s`, `3:07`, `1:02:45`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
