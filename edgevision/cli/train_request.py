"""What ``edgevision train --data`` was asked for, kept in the run's folder for ``--resume``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.cli.options import UNLABELLED_OPTION

if TYPE_CHECKING:
    from edgevision.data.layouts.reading import Choices

DEFAULT_MINUTES = 30.0
"""Where neither minutes nor epochs are asked for."""

_FILE = "request.json"


@dataclass(frozen=True)
class Request:
    """What ``--data`` and the options beside it ask for."""

    data: Path | None
    base: str
    minutes: float | None
    epochs: float | None
    images: Path | None
    unlabelled: str
    crowds_are_objects: bool
    int8: bool = False
    max_drop: float | None = None

    def write(self, folder: Path) -> None:
        """Keeps it."""
        from edgevision.files import write_json

        found = {key: None if value is None else str(value) for key, value in vars(self).items()}
        write_json(folder / _FILE, found)

    def resumed(self, folder: Path) -> Request:
        """What the run in a folder was asked for, with what may change: where the data are, and INT8.

        Raises:
            DataError: the folder holds no run of ``--data``, and this names no data to begin one with.
            UsageError: this asks for something else that the run was not begun with.
        """
        from edgevision.errors import UsageError

        if self.data is not None and not (folder / _FILE).exists():
            return self
        begun = Request.read(folder)
        length = begun.minutes or (None if begun.epochs else DEFAULT_MINUTES)
        settled = {
            "--from": self.base not in ("", begun.base),
            "--minutes": self.minutes not in (None, length),
            "--epochs": self.epochs not in (None, begun.epochs),
            "--unlabelled": self.unlabelled not in (UNLABELLED_OPTION.default, begun.unlabelled),
            "--crowds-are-objects": self.crowds_are_objects and not begun.crowds_are_objects,
        }
        if changed := [option for option, is_changed in settled.items() if is_changed]:
            raise UsageError(
                f"{folder} was begun with another {', '.join(changed)}, and --resume goes on with that: "
                "leave it out, or begin another run with --out (--set loop.images=N trains on for longer)"
            )
        return replace(
            begun,
            data=self.data or begun.data,
            images=self.images or begun.images,
            int8=self.int8 or begun.int8,
            max_drop=begun.max_drop if self.max_drop is None else self.max_drop,
        )

    @classmethod
    def read(cls, folder: Path) -> Request:
        """What a run was asked for."""
        import json

        from edgevision.errors import DataError

        try:
            found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            return cls(
                Path(found["data"]),
                found["base"],
                None if found["minutes"] is None else float(found["minutes"]),
                None if found["epochs"] is None else float(found["epochs"]),
                None if found["images"] is None else Path(found["images"]),
                found["unlabelled"],
                found["crowds_are_objects"] == "True",
                found.get("int8") == "True",
                None if found.get("max_drop") is None else float(found["max_drop"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder} holds no run of --data to go on with; expected its folder, or a configuration"
            ) from error

    def choices(self) -> Choices:
        """As the readers of layouts take them."""
        from edgevision.cli.data import make_choices

        return make_choices(self.images, self.unlabelled, self.crowds_are_objects)
