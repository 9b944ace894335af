"""Device profiles, and which of them a machine is."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.config import load_config
from edgevision.errors import ConfigError, EngineError, UsageError
from edgevision.export.plans.targets import (
    AUTO,
    BuildMachine,
    BuildsOnDeviceError,
    DeviceProfile,
    check_builds_here,
    find_target,
    load_targets,
    this_machine,
)
from tests.support.plans import BARE, jetson

CONTROL = {"title", "flavour", "aliases", "sources"}
"""Fields that are no facts of a device."""


def pc(gpu: str, compute_capability: str, *libraries: str) -> BuildMachine:
    return BuildMachine("x86_64", "", gpu, compute_capability, "", frozenset(libraries))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", load_targets())
def test_every_fact_has_its_source_and_every_source_a_fact(name: str) -> None:
    profile = load_targets()[name]
    empty = DeviceProfile(title="", flavour="tensorrt", compute_capability="", sources={})
    facts = {
        field
        for field in profile.__struct_fields__
        if getattr(profile, field) != getattr(empty, field) and field not in CONTROL
    }
    assert set(profile.sources) == facts
    assert all(len(source) > 10 for source in profile.sources.values())


@pytest.mark.parametrize(
    ("name", "compute_capability", "anywhere"),
    [
        ("rtx20", "7.5", True),
        ("rtx30", "8.6", True),
        ("rtx40", "8.9", True),
        ("rtx50", "12.0", True),
        ("t4", "7.5", False),
        ("a10", "8.6", False),
        ("h100", "9.0", False),
        ("jetson-orin-nano", "8.7", False),
        ("jetson-orin-nx", "8.7", False),
        ("jetson-agx-orin", "8.7", False),
        ("jetson-thor", "11.0", False),
    ],
)
def test_what_ships(name: str, compute_capability: str, anywhere: bool) -> None:
    profile = load_targets()[name]
    assert (profile.compute_capability, profile.builds_anywhere) == (compute_capability, anywhere)


def test_only_the_large_orin_is_said_to_have_dla_cores() -> None:
    cores = {name: profile.dla_cores for name, profile in load_targets().items()}
    assert {name for name, count in cores.items() if count} == {"jetson-agx-orin"}
    assert {name for name, count in cores.items() if count is None} == {"jetson-orin-nx"}


@pytest.mark.parametrize(
    ("alias", "name"), [("rtx-sm75", "rtx20"), ("rtx-sm86", "rtx30"), ("rtx-sm120", "rtx50")]
)
def test_a_target_by_its_compute_capability(alias: str, name: str) -> None:
    assert find_target(alias, BARE).name == name


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"unknown target 'jetson-orin-nana'; did you mean 'jetson-orin-nano'"
    ):
        find_target("jetson-orin-nana", BARE)
    with pytest.raises(UsageError, match=r"choose one of auto, a10, h100, jetson-agx-orin.*rtx50, t4"):
        find_target("zzz", BARE)
    with pytest.raises(UsageError, match=r"choose one of jetson-agx-orin, jetson-orin-nano, jetson-orin-nx$"):
        find_target("orin", BARE)


def test_elsewhere_the_device_is_named() -> None:
    with pytest.raises(BuildsOnDeviceError) as caught:
        check_builds_here(find_target("jetson-orin-nano", BARE), BARE)
    assert str(caught.value) == (
        "a plan for Jetson Orin Nano is built on the device itself, and this machine is x86_64 without a "
        "usable NVIDIA GPU; copy the model there and compile it there"
    )


@pytest.mark.parametrize("target", ["rtx20", "rtx30", "rtx40", "rtx50"])
def test_rtx_targets_build_anywhere(target: str) -> None:
    check_builds_here(find_target(target, BARE), BARE)


# Names as owners of the boards report them, with JetPack 5, 6 and 7
BOARDS = [
    ("NVIDIA Orin Nano Developer Kit", "8.7", "jetson-orin-nano"),
    ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "8.7", "jetson-orin-nano"),
    ("NVIDIA Orin NX Developer Kit", "8.7", "jetson-orin-nx"),
    ("Jetson AGX Orin Developer Kit", "8.7", "jetson-agx-orin"),
    ("NVIDIA Jetson AGX Orin Developer Kit", "8.7", "jetson-agx-orin"),
    ("NVIDIA Jetson AGX Thor Developer Kit", "11.0", "jetson-thor"),
]


@pytest.mark.parametrize(("board", "compute_capability", "target"), BOARDS)
def test_a_jetson_knows_itself_and_is_no_other(board: str, compute_capability: str, target: str) -> None:
    machine = jetson(board, compute_capability=compute_capability)
    assert find_target(AUTO, machine).name == target
    check_builds_here(find_target(target, machine), machine)
    for other, profile in load_targets().items():
        assert machine.is_target(profile) == (other == target)
    other = "jetson-thor" if target != "jetson-thor" else "jetson-agx-orin"
    with pytest.raises(UsageError, match=f"this machine is {board} with Orin"):
        check_builds_here(find_target(other, machine), machine)


@pytest.mark.parametrize(
    ("gpu", "compute_capability", "libraries", "target", "flavour"),
    [
        ("Tesla T4", "7.5", ["tensorrt"], "t4", "tensorrt"),
        ("NVIDIA A10", "8.6", ["tensorrt", "tensorrt-rtx"], "a10", "tensorrt"),
        ("NVIDIA H100 80GB HBM3", "9.0", ["tensorrt"], "h100", "tensorrt"),
        # Not an A10, and not an H100: nobody wrote a profile, TensorRT builds all the same.
        ("NVIDIA A10G", "8.6", ["tensorrt"], "sm86", "tensorrt"),
        ("NVIDIA A100-SXM4-40GB", "8.0", ["tensorrt"], "sm80", "tensorrt"),
        ("NVIDIA H200", "9.0", ["tensorrt"], "sm90", "tensorrt"),
        ("NVIDIA GeForce RTX 4090", "8.9", ["tensorrt", "tensorrt-rtx"], "sm89", "tensorrt"),
        ("NVIDIA GeForce RTX 4090", "8.9", ["tensorrt-rtx"], "rtx40", "tensorrt-rtx"),
        ("NVIDIA GeForce RTX 3060", "8.6", [], "rtx30", "tensorrt-rtx"),
        ("NVIDIA H200", "9.0", ["tensorrt-rtx"], "sm90", "tensorrt"),
    ],
)
def test_auto_takes_what_the_gpu_and_the_libraries_allow(
    gpu: str, compute_capability: str, libraries: list[str], target: str, flavour: str
) -> None:
    machine = pc(gpu, compute_capability, *libraries)
    found = find_target(AUTO, machine)
    assert (found.name, found.profile.flavour) == (target, flavour)
    assert found.profile.compute_capability == compute_capability
    check_builds_here(found, machine)


def test_auto_without_a_gpu_says_what_builds_without_one() -> None:
    with pytest.raises(
        EngineError, match=r"no NVIDIA driver is visible; or name .*: rtx20, rtx30, rtx40, rtx50$"
    ):
        find_target(AUTO, BARE)


def test_this_machine_is_looked_at(tmp_path: Path) -> None:
    board = tmp_path / "proc" / "device-tree" / "model"
    board.parent.mkdir(parents=True)
    board.write_bytes(b"NVIDIA Jetson AGX Orin Developer Kit\0")
    machine = this_machine(tmp_path)
    assert machine.board == "NVIDIA Jetson AGX Orin Developer Kit"
    assert bool(machine.gpu) != bool(machine.no_gpu)
    assert bool(machine.gpu) == bool(machine.multiprocessors) == bool(machine.memory_bytes)
    assert this_machine(tmp_path / "none").board == ""


def test_a_profile_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(
        "title: board\nflavour: tensorrt\ncompute_capability: '8.7'\nsources: {}\n"
        "software: [{name: JetPack 6.2, tensort: '10.3'}]\n"
    )
    with pytest.raises(ConfigError, match=r"unknown key 'software\.0\.tensort'; did you mean 'tensorrt'"):
        load_config(path, DeviceProfile)
