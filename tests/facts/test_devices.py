"""Accelerators: every row sourced, memory as reported, names of other chips, and machines of one's own."""

import math

import pytest
from numpy import float64

import gpt4lib
from gpt4lib.facts.devices import DEVICE_UNITS, Device, devices, hardware, same_chip
from gpt4lib.facts.files import sources
from gpt4lib.facts.given import look_up
from gpt4lib.facts.models import published_model
from gpt4lib.spine.errors import BadInput
from gpt4lib.systems.count import serving_view
from gpt4lib.systems.machine import Cluster, Layout, Server
from gpt4lib.systems.planner import explain
from gpt4lib.systems.serving import decode

EVERY = pytest.mark.parametrize("device", devices().values(), ids=devices())
OWN = {"name": "mine", "memory_bytes": 48e9, "bandwidth_bytes_per_s": 960e9, "bf16_flop_per_s": 364e12}
# What the tools print, from the sources: MiB by nvidia-smi, bytes by rocm-smi, GiB by the cloud pages.
PRINTED = {
    "A100-SXM 40GB": 40960 * 2**20,
    "A100-SXM 80GB": 81920 * 2**20,
    "H100-SXM 80GB": 81559 * 2**20,
    "H200-SXM": 143771 * 2**20,
    "B200-SXM": 183359 * 2**20,
    "L4": 23034 * 2**20,
    "RTX 5090": 32607 * 2**20,
    "MI300X": 206_141_652_992,
    "TPU v4": 32 * 2**30,
    "TPU v5p": 95 * 2**30,
}


@EVERY
def test_every_row_has_its_sources_and_says_what_was_read(device):
    assert {device.source, device.memory_source} <= sources()
    assert device.evidence and device.notes and device.sheet_memory_bytes
    assert "print" in device.notes, "where the memory was read"


@EVERY
def test_a_card_reports_up_to_a_tenth_more_than_its_sheet(device):
    """GB against GiB make 7.4% at most; nothing reports less."""
    assert 1 <= device.memory_bytes / device.sheet_memory_bytes <= 1.0738


@EVERY
def test_figures_are_of_their_time_and_kind(device):
    assert 1e10 < device.memory_bytes < 4e11 and 2e11 < device.bandwidth_bytes_per_s < 1e13
    assert 5e13 < device.bf16_flop_per_s < 3e15, "a sparse peak, or one of eight GPUs"
    eight = [x for x in (device.fp8_flop_per_s, device.int8_op_per_s) if x]
    assert all(0.45 < x / device.bf16_flop_per_s < 4.1 for x in eight)


@pytest.mark.parametrize("name", PRINTED)
def test_memory_is_what_the_tools_print(name):
    assert hardware(name).memory_bytes == PRINTED[name]


def test_laws_take_the_memory_with_its_own_source():
    found = look_up("hardware:A100-SXM 40GB.memory_bytes")
    assert found.stated.value == 40 * 2**30 and found.source == "thundergolfer_memory"
    sheet = look_up("hardware:A100-SXM 40GB.sheet_memory_bytes")
    assert sheet.stated.value == 40e9 and sheet.source == "nvidia_a100"


# ---- names ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "boards"),
    [
        ("H100", "H100-SXM 80GB, H100-PCIe 80GB"),
        ("NVIDIA A100 80GB", "A100-SXM 40GB, A100-SXM 80GB"),
        ("geforce rtx 4090", "RTX 4090"),
        ("mi300x", "MI300X"),
        ("tpu V4", "TPU v4"),
    ],
)
def test_another_spelling_is_answered_with_the_boards_of_that_chip(name, boards):
    with pytest.raises(BadInput) as caught:
        hardware(name)
    assert str(caught.value) == f"unknown accelerator {name!r}; nearest known: {boards}"


@pytest.mark.parametrize("name", ["A30", "H10", "A1000", "MI300A", "TPU", "RTX 3090", "", None, 3])
def test_another_chip_is_never_given_as_near(name):
    with pytest.raises(BadInput) as caught:
        hardware(name)
    words = str(caught.value)
    assert "nearest" not in words and "no known chip goes by that name; other chips: V100-SXM2" in words
    assert words.endswith("or describe your own, as [gpu] or Device")


@EVERY
def test_each_name_stands_for_its_own_chip(device):
    assert device.name in same_chip(device.name, devices())
    assert same_chip(device.name, devices()).startswith("nearest known: ")


# ---- own machines -----------------------------------------------------------------------------
def test_a_device_is_made_by_hand_and_passes_for_its_name():
    mine = gpt4lib.Device(**OWN)
    assert gpt4lib.hardware(mine) is mine and str(mine) == "mine"
    assert mine.fp8_flop_per_s is mine.link_one_way_bytes_per_s is mine.sheet_memory_bytes is None
    assert mine.notes == mine.source == ""
    assert Device(**OWN | {"interconnect_bytes_per_s": 600e9}).link_one_way_bytes_per_s == 300e9
    assert Device(**OWN | {"memory_bytes": float64(48e9)}) == mine == Device(**OWN | {"tdp_watt": None})


def test_every_mistake_of_a_device_is_told():
    wrong = {"name": " ", "memory_bytes": 0, "bandwidth_bytes_per_s": None, "bf16_flop_per_s": "fast"}
    wrong |= {"fp8_flop_per_s": -1, "int8_op_per_s": math.inf, "tdp_watt": True}
    with pytest.raises(BadInput) as caught:
        Device(**wrong)
    head, *lines = str(caught.value).splitlines()
    assert head == "Device: 7 mistakes" and {line.split()[0] for line in lines} == set(wrong)
    assert "  memory_bytes takes a positive number, got 0" in lines
    assert "  bandwidth_bytes_per_s takes a positive number, got nothing" in lines


def test_servers_and_clusters_take_a_name_or_a_device():
    card = devices()["A100-SXM 80GB"]
    mine = Device(name="mine", **{key: getattr(card, key) for key in DEVICE_UNITS})
    shape = published_model("Llama-2-7B").shape
    served = [
        decode(serving_view(shape), Server(gpu=gpu), batch=8, context=100) for gpu in (card.name, card, mine)
    ]
    assert served[0].pass_seconds == served[1].pass_seconds == served[2].pass_seconds
    steps = [
        explain(
            shape,
            Cluster(device=gpu, n_gpus=8, nic_bytes_per_s=25e9),
            Layout(tensor=8, batch=8, recompute="full"),
            seq=2048,
        ).step_seconds
        for gpu in (card.name, card, mine)
    ]
    assert steps[0] == steps[1] == steps[2]
    with pytest.raises(BadInput, match="compute takes one of bf16 on mine, got 'fp8'"):
        decode(serving_view(shape), Server(gpu=Device(**OWN), compute="fp8"), batch=1, context=1)
    with pytest.raises(BadInput, match=r"GB of weights on each mine with 1.0 GB"):
        tiny = Device(**OWN | {"memory_bytes": 1e9, "interconnect_bytes_per_s": 64e9})
        decode(serving_view(shape), Server(gpu=tiny), batch=1, context=1)
