"""The devices that plans are built for (``configs/devices/*.yaml``), and which of them this machine is."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgevision.bounds import Count, CountOrNone
from edgevision.config import config_folder, load_config
from edgevision.engines.trt.board import board_name
from edgevision.engines.trt.cuda_runtime import Device, load_cuda, open_device
from edgevision.engines.trt.library import is_installed
from edgevision.engines.trt.plan import Flavour
from edgevision.errors import ConfigError, EngineError, UsageError, nearest

AUTO = "auto"


class BuildsOnDeviceError(UsageError):
    """A plan for this target can be built on the device only. Exit code 2.

    Args:
        found: which device, and what this machine is.
    """

    def __init__(self, found: str) -> None:
        super().__init__(f"{found}; copy the model there and compile it there")
        self.found = found


class Software(msgspec.Struct, frozen=True):
    """A release of the device's system, and what it brings.

    Attributes:
        name: such as ``JetPack 6.2``.
        tensorrt, cuda: versions, without the last number.
        dla: whether its TensorRT builds for the DLA of this device; None where it is unknown.
    """

    name: str
    tensorrt: str
    cuda: str | None = None
    dla: bool | None = None


class DeviceProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of ``configs/devices``. What could not be supported by a source is left out.

    Attributes:
        title: for people.
        flavour: which library builds for it. TensorRT for RTX builds ahead of time on any machine; plans
            of TensorRT are built on the device itself.
        compute_capability: such as ``8.7``.
        aliases: other names of the target.
        boards: texts of which one is in the board's own name (:func:`board_name`).
        gpus: words of which one is in the GPU's name, as the driver says it.
        memory_gb: what it is sold with; a Jetson shares it between GPU and CPU.
        dla_cores: 0 where it has none.
        video_encoder, video_decoder: whether there is one in hardware.
        software: releases of its system.
        power_modes: as ``nvpmodel`` names them, or their watts.
        sources: for each of the facts above, where it was read.
    """

    title: str
    flavour: Flavour
    compute_capability: str
    aliases: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    memory_gb: tuple[Count, ...] = ()
    dla_cores: CountOrNone | None = None
    video_encoder: bool | None = None
    video_decoder: bool | None = None
    software: tuple[Software, ...] = ()
    power_modes: tuple[str, ...] = ()
    sources: dict[str, str]

    @property
    def builds_anywhere(self) -> bool:
        return self.flavour == "tensorrt-rtx"


@dataclass(frozen=True, slots=True)
class Target:
    """A profile under the name that the user knows it by."""

    name: str
    profile: DeviceProfile


@dataclass(frozen=True, slots=True)
class BuildMachine:
    """What matters of a machine when a plan is built.

    Attributes:
        architecture: ``x86_64``, ``aarch64``.
        board: what the board calls itself; ``""`` on a PC.
        gpu: name of the GPU; ``""`` where there is none.
        compute_capability: of the GPU; ``""`` where there is none.
        no_gpu: why there is no GPU; ``""`` where there is one.
        libraries: those that are installed.
        is_integrated: the GPU shares its memory with the processor.
        memory_bytes: of the GPU; 0 where there is none.
        multiprocessors: of the GPU; 0 where there is none.
    """

    architecture: str
    board: str
    gpu: str
    compute_capability: str
    no_gpu: str
    libraries: frozenset[Flavour]
    is_integrated: bool = False
    memory_bytes: int = 0
    multiprocessors: int = 0

    def __str__(self) -> str:
        what = self.board or self.architecture
        return f"{what} with {self.gpu}" if self.gpu else f"{what} without a usable NVIDIA GPU"

    def is_target(self, profile: DeviceProfile) -> bool:
        """Whether this machine is such a device."""
        if profile.compute_capability != self.compute_capability:
            return False
        by_board = any(text.lower() in self.board.lower() for text in profile.boards)
        return by_board or bool(set(profile.gpus) & set(self.gpu.split()))


def load_targets() -> dict[str, DeviceProfile]:
    """Every profile that ships, by target name, in alphabetical order.

    Raises:
        ConfigError: a file is damaged, or there is none.
    """
    folder = config_folder() / "devices"
    profiles = {path.stem: load_config(path, DeviceProfile) for path in sorted(folder.glob("*.yaml"))}
    if not profiles:
        raise ConfigError(f"no device profiles in {folder}; install edgevision again")
    return profiles


def this_machine(root: Path = Path("/")) -> BuildMachine:
    """What this machine is.

    Args:
        root: where the board's name is looked for.
    """
    device: Device | None = None
    no_gpu = ""
    try:
        device = open_device(load_cuda())
    except EngineError as error:
        no_gpu = str(error)
    flavours: tuple[Flavour, ...] = ("tensorrt", "tensorrt-rtx")
    return BuildMachine(
        architecture=platform.machine(),
        board=board_name(root),
        gpu="" if device is None else device.name,
        compute_capability="" if device is None else device.compute_capability,
        no_gpu=no_gpu,
        libraries=frozenset(flavour for flavour in flavours if is_installed(flavour)),
        is_integrated=device is not None and device.is_integrated,
        memory_bytes=0 if device is None else device.memory_bytes,
        multiprocessors=0 if device is None else device.multiprocessors,
    )


def find_target(name: str, machine: BuildMachine) -> Target:
    """The target of this name.

    Args:
        name: a target, one of its aliases, or ``auto`` for what this machine is.
        machine: this machine.

    Raises:
        UsageError: there is no such target.
        EngineError: ``auto`` where there is no GPU.
    """
    profiles = load_targets()
    if name == AUTO:
        return _own_target(profiles, machine)
    by_alias = {alias: target for target, profile in profiles.items() for alias in profile.aliases}
    target = by_alias.get(name, name)
    if target not in profiles:
        known = (AUTO, *profiles, *by_alias)
        family = [target for target in profiles if name and name in target]  # as 'orin' in jetson-orin-nano
        hint = nearest(name, known) or f"; choose one of {', '.join(family or (AUTO, *profiles))}"
        raise UsageError(f"unknown target '{name}'{hint}")
    return Target(target, profiles[target])


def check_builds_here(target: Target, machine: BuildMachine) -> None:
    """Refuses a target that only the device itself can build for.

    Args:
        target: what to build for.
        machine: this machine.

    Raises:
        BuildsOnDeviceError: this machine is not the device.
    """
    profile = target.profile
    if not profile.builds_anywhere and not machine.is_target(profile):
        raise BuildsOnDeviceError(
            f"a plan for {profile.title} is built on the device itself, and this machine is {machine}"
        )


def _own_target(profiles: dict[str, DeviceProfile], machine: BuildMachine) -> Target:
    """TensorRT where it is installed, for it tunes on the GPU at hand; TensorRT for RTX otherwise."""
    if not machine.gpu:
        anywhere = ", ".join(name for name, profile in profiles.items() if profile.builds_anywhere)
        raise EngineError(
            f"`target` auto builds for this machine's GPU, but {machine.no_gpu}; "
            f"or name a target that is built without a GPU: {anywhere}"
        )
    if "tensorrt" in machine.libraries:
        for name, profile in profiles.items():
            if not profile.builds_anywhere and machine.is_target(profile):
                return Target(name, profile)
        return _unlisted(machine)
    for name, profile in profiles.items():
        if profile.builds_anywhere and profile.compute_capability == machine.compute_capability:
            return Target(name, profile)  # where the library is missing too, loading it says how to get it
    return _unlisted(machine)


def _unlisted(machine: BuildMachine) -> Target:
    """A GPU without a profile: TensorRT builds for it too."""
    name = "sm" + machine.compute_capability.replace(".", "")
    profile = DeviceProfile(
        title=machine.gpu,
        flavour="tensorrt",
        compute_capability=machine.compute_capability,
        gpus=tuple(machine.gpu.split()),
        sources={"compute_capability": "CUDA runtime"},
    )
    return Target(name, profile)
