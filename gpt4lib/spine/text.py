"""One formatter for every number that a reader sees."""

import math
import re

from .errors import BadInput
from .interval import Interval
from .stated import parts
from .units import base_unit, unit_factor

_PREFIXES = tuple(zip((1e18, 1e15, 1e12, 1e9, 1e6, 1e3, 1, 1e-3, 1e-6), (*"EPTGMk", "", "m", "µ")))
_WORDS = ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"), (1, ""))
_YEAR = 365.25 * 86400
_TIMES = tuple(zip((_YEAR, 86400, 3600, 60, 1, 1e-3, 1e-6), "years days hours min s ms µs".split()))
_FROM = (2 * _YEAR, 2 * 86400, 2 * 3600, 120, 1, 1e-3, 0)  # the seconds from which on such a unit reads best
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def _words(text):
    return dict(pair.split(": ") for pair in text.split(", "))


_PREFIXED = _words(
    "FLOP: FLOP, FLOP/second: FLOP/s, FLOP/GPU/second: FLOP/s, FLOP/token: FLOP per token, byte: B, "
    "byte/GPU: B, byte/second: B/s, byte/GPU/second: B/s, byte/token: B per token, joule: J, "
    "joule/second: W, joule/GPU/second: W per GPU, GPU*second: GPU-seconds"
)
_COUNTED = _words(
    "parameter: parameters, token: tokens, GPU: GPUs, token/second: tokens/s, FLOP/byte: FLOP per byte, "
    "token/parameter: tokens per parameter, USD/token: USD per token"
)


def number(value: float, digits: int = 3) -> str:
    """A number to `digits` significant digits; whole numbers of up to six digits in full.

    >>> number(24960.0), number(0.03456), number(2.184e25), number(16)
    ('24,960', '0.0346', '2.18 × 10²⁵', '16')
    """
    if isinstance(value, int) and abs(value) < 1e6:
        return f"{value:,}"
    if value == 0 or not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "0" if value == 0 else "undefined")
    power = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if power >= 6 or power < -4:
        return f"{value / 10.0**power:.{digits - 1}f} × 10{str(power).translate(_SUPERSCRIPT)}"
    return f"{value:,.{max(digits - 1 - power, 0)}f}"


def fmt(value, unit: str = "1", digits: int = 3) -> str:
    """A value in a base unit as a reader would write it: "554 GFLOP", "$57.0 million", "95.0 days".

    `unit` is "%" for a share shown in percent. An `Interval` reads "$52.9 to $61.2 million". Raises
    BadInput for an unknown unit.

    >>> fmt(1.831e12, "parameter"), fmt(95 * 86400, "second"), fmt(0.344, "%"), fmt(5.7e7, "USD")
    ('1.83 trillion parameters', '95.0 days', '34.4%', '$57.0 million')
    """
    if isinstance(value, Interval):
        return _span(fmt(value.lo, unit, digits), fmt(value.hi, unit, digits))
    value = value if isinstance(value, int) else float(value)
    if value < 0:
        return "−" + fmt(-value, unit, digits)
    if unit in ("%", "percent"):
        text = number(100.0 * value, digits)
        return number(value, digits) if "10⁻" in text else f"{text}%"  # a power of ten has no percent sign
    base = base_unit(unit)
    if (unit not in ("", "1") and base == "1") or (base != unit and unit_factor(unit, base) != 1):
        raise BadInput(f"fmt takes a base unit or '%', got {unit!r}")
    if base == "1":
        return number(value, digits)
    if not math.isfinite(value):
        return f"{number(value)} {_COUNTED.get(base, base)}"
    return (_money if base.startswith("USD") and base not in _COUNTED else _amount)(value, base, digits)


def _money(value, base, digits):
    """Dollars, and the prices that readers know by another unit."""
    if base == "USD/GPU/second":
        return f"${number(float(value) * 3600, digits)} per GPU-hour"
    if base == "USD/joule":
        return f"${number(value * 3.6e6, digits)} per kWh"
    if base == "USD/GPU":
        return f"{_money(value, 'USD', digits)} per GPU"
    if base != "USD":
        return _amount(value, base, digits)
    scale, word = _pick(value, _WORDS, digits)
    text = f"{value:,.2f}" if scale == 1 and 0.1 <= value < 1000 else number(value / scale, digits)
    return f"${text}{word}"


def _amount(value, base, digits):
    """Times, amounts with a prefix, and things counted in words."""
    if base == "second":
        scale, name = next(unit for unit, least in zip(_TIMES, _FROM) if value >= least)
        return f"{number(value / scale, digits)} {name}"
    if base == "GPU*second":
        scale, word = _pick(value / 3600, _WORDS, digits)
        return f"{number(value / 3600 / scale, digits)}{word} GPU-hours"
    if base in _PREFIXED:
        scale, prefix = (1, "") if value >= 1e21 or value == 0 else _pick(value, _PREFIXES, digits)
        return f"{number(value / scale, digits)} {prefix}{_PREFIXED[base]}"
    scale, word = (1, "") if isinstance(value, int) and value < 1e6 else _pick(value, _WORDS, digits)
    return f"{number(value / scale if scale > 1 else value, digits)}{word} {_COUNTED.get(base, base)}"


def written(stated) -> str:
    """A stated value as a reader would write it, to the digits it was stated with.

    >>> from gpt4lib.spine.stated import stated
    >>> [written(stated(text)) for text in ("~63e6 USD", "90-100 day", "> 25,000 GPU", "=16")]
    ['~$63 million', '90 to 100 days', '> 25,000 GPUs', '16']
    """
    mark, *numbers = parts(stated.text)
    unit = "%" if stated.written_unit in ("percent", "%") else stated.unit
    shown = []
    for text in filter(None, numbers):
        value, plain = float(text.replace(",", "").replace("_", "")), re.sub(r"[eE].*|[,_]", "", text)
        digits = len((plain if "." in plain else plain.rstrip("0")).replace(".", "").lstrip("0")) or 1
        if stated.unit in _PREFIXED and stated.written_unit != stated.unit:  # a prefix stays as written
            shown.append(f"{number(value, digits)} {_plain(stated.written_unit)}")
        else:
            shown.append(fmt(value * unit_factor(stated.written_unit, stated.unit), unit, digits))
    mark = {"=": "", "~": "~"}.get(mark, f"{mark} " if mark else "")
    return mark + _span(shown[0], shown[-1])


def _plain(unit):
    """A unit as prose has it: "TFLOP/token" is TFLOP per token."""
    spelt = {"/token": " per token", "/second": "/s", "/GPU": " per GPU", "watt": "W"}
    return re.sub("/token|/second|/GPU|watt", lambda found: spelt[found[0]], unit)


def _span(low, high):
    """ "a to b", the unit said once; a alone where both read the same."""
    if low == high:
        return low
    (amount, _, unit), (_, _, unit_high) = low.partition(" "), high.partition(" ")
    said_once = unit and unit == unit_high and "×" not in unit
    return f"{amount if said_once else low} to {high}"


def _pick(value, table, digits):
    rounded = float(f"{value:.{digits - 1}e}")
    return next(((scale, name) for scale, name in table if rounded >= scale), table[-1])


def display(value: float, quantity) -> str:
    """A value of a quantity as a reader would write it; quantities of at most 1 are shown in percent."""
    return fmt(value, "%" if quantity.at_most == 1 else quantity.unit)
