"""The measured roofline: predictions against a count, this computer's curve, recorded CSVs, the
GPU script.
"""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpt4lib.facts.devices import hardware
from gpt4lib.spine.errors import BadInput
from gpt4lib.validation import roofline

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("measure_gpu", ROOT / "benchmarks" / "measure_gpu.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
ROW = dict(
    zip(
        roofline.COLUMNS,
        (
            "Card",
            "H100-SXM 80GB",
            "2024-01-02",
            "2.5",
            "12.4",
            "decode",
            "bfloat16",
            1,
            100,
            200,
            1,
            1,
            1e-6,
            10,
        ),
    )
)


def put(folder, rows, columns=roofline.COLUMNS, name="card.csv"):
    with (folder / name).open("w", newline="") as file:
        out = csv.DictWriter(file, columns, extrasaction="ignore")
        out.writeheader()
        out.writerows(rows)
    return folder


# ---- by the laws --------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 30, 5000])
@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("bfloat16", 2), ("float8", 1)])
def test_a_product_counted(batch, dtype, width):
    moved = width * (300 * 200 + batch * 200 + batch * 300)
    flop = sum(2 * 200 for _ in range(300)) * batch
    got = roofline.predict_product(batch=batch, rows=300, columns=200, dtype=dtype, bandwidth=1e9, peak=2e11)
    assert float(got) == pytest.approx(max(moved / 1e9, flop / 2e11))


def test_a_routed_layer_counted():
    rng, n = np.random.default_rng(3), 3000
    for batch in (1, 4, 64):
        hit = np.mean(
            [len({e for _ in range(batch) for e in rng.choice(16, 2, replace=False)}) for _ in range(n)]
        )
        moved, flop = 2 * (hit * 2 * 300 * 200 + batch * 500), batch * 2 * 2 * 2 * 300 * 200
        got = roofline.predict_product(
            batch=batch,
            rows=300,
            columns=200,
            dtype="bfloat16",
            bandwidth=1e9,
            peak=1e12,
            experts=16,
            top_k=2,
        )
        assert float(got) == pytest.approx(max(moved / 1e9, flop / 1e12), rel=0.02)


def test_prediction_rises_from_flat_to_linear():
    batch = 2 ** np.arange(13)
    t = roofline.predict_product(
        batch=batch, rows=8192, columns=8192, dtype="bfloat16", bandwidth=3.35e12, peak=989e12
    )
    assert t[5] / t[0] < 1.02 and t[12] / t[11] == pytest.approx(2, rel=1e-6) and np.all(np.diff(t) > 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch": 0}, "batch takes positive"),
        ({"rows": 0}, "rows takes a positive whole"),
        ({"columns": 1.5}, "columns takes"),
        ({"dtype": "int4"}, "dtype takes one of"),
        ({"bandwidth": -1}, "bandwidth takes"),
        ({"peak": np.nan}, "peak takes"),
        ({"experts": 2, "top_k": 3}, "top_k takes at most"),
        ({"top_k": 0}, "top_k takes"),
        ({"experts": 0}, "experts takes"),
    ],
)
def test_bad_products(change, words):
    with pytest.raises(BadInput, match=words):
        roofline.predict_product(
            **(
                {"batch": 1, "rows": 4, "columns": 4, "dtype": "float32", "bandwidth": 1.0, "peak": 1.0}
                | change
            )
        )


# ---- this computer ------------------------------------------------------------------------


def test_this_computers_curve_has_the_shape():
    x = roofline.own(batches=(1, 16, 256), repeats=3)
    assert x["bandwidth"] > 1e8 and x["peak"] > 1e8
    assert np.all(np.diff(x["predicted"]) > 0) and len(x["seconds"]) == 3
    each = x["seconds"] / x["batch"]
    assert each[-1] < each[0] / 2  # a column is far cheaper in a batch
    assert x["seconds"][-1] > x["predicted"][-1] / 3  # and no product beats the roof by much


def test_own_refuses_bad_sizes():
    for change in ({"side": 0}, {"repeats": 0}, {"batches": (0,)}):
        with pytest.raises(BadInput):
            roofline.own(**change)


def test_timing_leaves_out_the_first_call():
    calls = []
    assert roofline.timed(lambda: calls.append(1), 5) >= 0 and len(calls) == 6


# ---- recorded CSVs ------------------------------------------------------------------------


def test_no_folder_and_no_file_are_no_measurements(tmp_path):
    assert roofline.measurements(tmp_path / "none") == [] == roofline.measurements(tmp_path)


def test_the_projects_own_measurements_can_be_read():
    assert isinstance(roofline.against_law(roofline.measurements()), list)


def test_a_recorded_card_is_set_against_the_laws(tmp_path):
    # A card that copies at 2 TB/s and multiplies at 500 TFLOP/s, and obeys the law exactly.
    side, rate, peak = 8192, 2e12, 5e14
    rows = [
        ROW | {"kind": "copy", "rows": side, "columns": side, "seconds": 2 * side * side * 2 / rate},
        ROW | {"kind": "peak", "batch": side, "rows": side, "columns": side, "seconds": 2 * side**3 / peak},
        ROW | {"kind": "peak", "batch": side, "rows": side, "columns": side, "seconds": 4 * side**3 / peak},
    ]
    for batch in (1, 64, 4096):
        moved, flop = 2 * (side * side + 2 * batch * side), 2 * batch * side * side
        rows.append(
            ROW | {"batch": batch, "rows": side, "columns": side, "seconds": max(moved / rate, flop / peak)}
        )
    read = roofline.measurements(put(tmp_path, rows))
    assert roofline.card_rates(read)["Card"] == pytest.approx({"bandwidth": rate, "bfloat16": peak})
    found = roofline.against_law(read)
    assert [r["batch"] for r in found] == [1, 64, 4096] and [r["by_own"] for r in found] == pytest.approx(
        [1, 1, 1]
    )
    sheet = hardware("H100-SXM 80GB")
    assert found[0]["by_sheet"] == pytest.approx(rate / sheet.bandwidth_bytes_per_s)
    assert found[2]["by_sheet"] == pytest.approx(peak / sheet.bf16_flop_per_s)


def test_a_card_of_no_data_sheet_has_no_prediction_by_it(tmp_path):
    rows = [ROW | {"device": ""}, ROW | {"device": "A100-SXM 80GB", "dtype": "float8"}]
    found = roofline.against_law(roofline.measurements(put(tmp_path, rows)))
    assert [r["by_sheet"] for r in found] == [None, None] == [r["by_own"] for r in found]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "sort"}, "kind copy, peak, decode, experts"),
        ({"dtype": "int4"}, "dtype float32"),
        ({"seconds": "fast"}, "seconds takes a number"),
        ({"seconds": 0}, "seconds takes a positive"),
        ({"batch": -1}, "batch takes a positive"),
        ({"rows": 1.5}, "rows takes a number"),
    ],
)
def test_bad_csv(tmp_path, change, words):
    with pytest.raises(BadInput, match=f"card.csv.*{words}"):
        roofline.measurements(put(tmp_path, [ROW | change]))


def test_other_columns_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"card.csv takes the columns card, device"):
        roofline.measurements(put(tmp_path, [ROW], columns=roofline.COLUMNS[1:]))


# ---- the GPU script -----------------------------------------------------------------------


def test_plan_is_the_one_described():
    rows = script.plan(fp8=True)
    decode = [r["batch"] for r in rows if r["kind"] == "decode" and r["dtype"] == "float8"]
    assert decode == [2**i for i in range(13)] and decode[-1] == 4096
    assert [r["batch"] for r in rows if r["kind"] == "experts"] == decode
    assert {(r["experts"], r["top_k"]) for r in rows if r["kind"] == "experts"} == {(16, 2)}
    assert all(r["dtype"] == "bfloat16" for r in script.plan(fp8=False))
    assert [r["kind"] for r in rows].count("copy") == 1 and [r["kind"] for r in rows].count("peak") == 2


def test_what_the_script_writes_the_library_reads(tmp_path):
    about = {
        "card": "NVIDIA H100 80GB HBM3",
        "device": script.guess("NVIDIA H100 80GB HBM3"),
        "date": "2024-01-02",
        "torch": "2.5",
        "cuda": "12.4",
    }
    rows = [row | {"seconds": 1e-4, "repeats": 10} for row in script.plan(fp8=True)]
    script.write(tmp_path / "h100.csv", rows, about)
    read = roofline.measurements(tmp_path)
    assert len(read) == len(rows) and read[0]["device"] == "H100-SXM 80GB"
    assert len(roofline.against_law(read)) == 39 and all(r["by_sheet"] for r in roofline.against_law(read))


@pytest.mark.parametrize(
    ("card", "row"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100-SXM 80GB"),
        ("NVIDIA H100 PCIe", "H100-PCIe 80GB"),
        ("NVIDIA H200", "H200-SXM"),
        ("NVIDIA GB200", "GB200"),
        ("Tesla T4", ""),
    ],
)
def test_guesses(card, row):
    assert script.guess(card) == row


def test_guesses_are_rows_of_the_hardware_table():
    assert all(hardware(name) for name in script.GUESSES)


def test_repeats_stay_within_bounds():
    assert [script.repeats_for(s) for s in (0, 1e-3, 0.01, 10)] == [200, 200, 50, 10]


def test_without_a_gpu_the_script_says_so_and_writes_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "measure_gpu.py", "--out", tmp_path / "x.csv"],
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        pytest.skip("there is a GPU")
    assert done.returncode == 2 and not (tmp_path / "x.csv").exists()
    assert "PyTorch is not installed" in done.stderr or "no CUDA or ROCm GPU" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_device_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        script.main(["--out", str(tmp_path / "x.csv"), "--device", "H1000"])
    assert "--device takes one of V100-SXM2 32GB" in capsys.readouterr().err


def test_pytorch_without_a_gpu_is_named(monkeypatch, capsys, tmp_path):
    class NoGpu:
        __version__, cuda = "2.5", type("cuda", (), {"is_available": staticmethod(lambda: False)})

    monkeypatch.setitem(sys.modules, "torch", NoGpu)
    assert script.main(["--out", str(tmp_path / "x.csv")]) == 2
    assert "PyTorch 2.5 finds no CUDA or ROCm GPU" in capsys.readouterr().err


# ---- the GPU script on a stand-in for PyTorch ---------------------------------------------


class Tensor(np.ndarray):
    """A NumPy array with the few methods that the script calls."""

    def t(self):
        return self.T

    def to(self, _):
        return self

    def cuda(self):
        return self

    def zero_(self):
        self[...] = 0

    def copy_(self, other):
        self[...] = other

    def index_add_(self, axis, index, values):
        assert axis == 0
        np.add.at(self, index, values)

    def any(self, dim):
        return np.asarray(self).any(axis=dim).view(Tensor)

    def nonzero(self):
        return np.argwhere(np.asarray(self)).view(Tensor)

    def topk(self, k, dim):
        return type("found", (), {"indices": np.argsort(-np.asarray(self), axis=dim)[:, :k].view(Tensor)})


class Event:
    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        Event.now = getattr(Event, "now", 0) + 1
        self.at = Event.now

    def elapsed_time(self, end):
        return float(end.at - self.at)  # milliseconds


def stand_in():
    """What the script uses of PyTorch, on NumPy."""
    rng = np.random.default_rng(0)
    made = lambda value: np.array(value, dtype=float).view(Tensor)
    size = lambda shape: shape[0] if shape and isinstance(shape[0], tuple) else shape
    torch = type(
        "torch", (), {"__version__": "2.5", "bfloat16": "bf16", "float8_e4m3fn": "fp8", "uint8": "u8"}
    )
    torch.randn = torch.rand = staticmethod(lambda *shape, **_: made(rng.random(shape)))
    torch.zeros = torch.empty = torch.ones = staticmethod(lambda *shape, **_: made(np.zeros(size(shape))))
    torch.empty_like = torch.zeros_like = staticmethod(lambda x: made(np.zeros(x.shape)))
    torch._scaled_mm = staticmethod(lambda a, b, **_: a @ b)
    torch.Generator = type("Generator", (), {"manual_seed": lambda self, seed: self})
    torch.nn = type("nn", (), {"functional": type("functional", (), {"gelu": staticmethod(lambda x: x)})})
    torch.version = type("version", (), {"cuda": "12.4"})
    names = {
        "is_available": True,
        "get_device_name": "NVIDIA H100 80GB HBM3",
        "get_device_capability": (9, 0),
    }
    torch.cuda = type("cuda", (), {name: staticmethod(lambda *_, v=v: v) for name, v in names.items()})
    torch.cuda.synchronize = torch.cuda.empty_cache = staticmethod(lambda: None)
    torch.cuda.Event = Event
    return torch


def test_the_script_from_end_to_end(monkeypatch, tmp_path, capsys):
    names = ("BATCHES", "ROWS", "INNER", "D_MODEL", "D_FF", "PEAK_SIDE", "COPY_SIDE", "FLUSH_BYTES")
    for name, value in zip(names, ((1, 4), 32, 16, 8, 24, 48, 64, 10), strict=True):
        monkeypatch.setattr(script, name, value)
    monkeypatch.setitem(sys.modules, "torch", stand_in())
    assert script.main(["--out", str(tmp_path / "card.csv")]) == 0
    assert "taken for H100-SXM 80GB" in capsys.readouterr().out
    rows = roofline.measurements(tmp_path)
    assert [r["kind"] for r in rows] == ["copy", "peak", "peak", *["decode"] * 4, *["experts"] * 2]
    assert all(r["seconds"] == 1e-3 and r["repeats"] == 200 and r["cuda"] == "12.4" for r in rows)


def test_what_the_script_multiplies(monkeypatch):
    torch = stand_in()
    for dtype in ("bfloat16", "float8"):
        assert script.multiply(torch, dtype, 3, 32, 16)().shape == (
            (3, 32) if dtype == "bfloat16" else (16, 32)
        )
    routed = script.route(torch, 1000, 16, 2)
    assert sum(map(len, routed)) == 2000 and min(map(len, routed)) > 60
    assert all(len(set(np.asarray(tokens).tolist())) == len(tokens) for tokens in routed)


def test_own_rates_on_a_clock_that_always_shows_one_second(monkeypatch):
    monkeypatch.setattr(roofline, "timed", lambda work, repeats: 1.0)
    x = roofline.own(side=40, batches=(1, 2))
    assert x["bandwidth"] == 4 * 40 * 40  # float32
    assert x["peak"] == 2 * 10**3  # a square product of a quarter of the side: multiply and add
    assert x["seconds"].tolist() == [1, 1] and roofline.own(side=3, batches=(1,))["peak"] == 2
