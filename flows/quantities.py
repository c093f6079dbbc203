"""Numbers as people read them: counts, shares, sizes, times."""

import math


def count(value: float) -> str:
    """Write a count with thousands separated."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def counted(value: int, noun: str, plural: str = "") -> str:
    """Write a count and its noun, which gets an s in the plural unless told otherwise."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def percent(share: float, digits: int = 1) -> str:
    """Write a share as per cent; all and none are said only where they are true."""
    shown = round(100 * share, digits)
    if shown >= 100 > 100 * share:
        shown = 100 - 10**-digits
    if shown <= 0 < share:
        return f"< {10**-digits:.{digits}f} %"
    return f"{shown:.{digits}f} %"


def rate(value: float, unit: str) -> str:
    """Write a speed with three figures that count."""
    if value <= 0:
        return ""
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{min(digits, 3)}f} {unit}/s".replace(" /s", "/s")


def size(number: float) -> str:
    """Write bytes in the unit that fits (1 kB = 1,000 bytes)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or abs(number) >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def duration(seconds: float) -> str:
    """Write a time in the two largest units that count."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"
