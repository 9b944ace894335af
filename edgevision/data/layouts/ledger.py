"""The account of a data set: images and boxes on disk equal those used plus those left out, by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgevision.data.detection.check import DataReport, Fault, SetReport, check_set, check_sets
from edgevision.data.formats.raw import LabelProblem, RawSet, large_enough
from edgevision.data.images import is_there
from edgevision.data.layouts.recognise import FoundData
from edgevision.progress import OnDone

_WHY = {
    "malformed": "malformed",
    "unreadable": "in unreadable files",
    "class": "of undefined classes",
    "orphan": "of no image",
    "ambiguous": "with two meanings",
}


@dataclass(frozen=True, slots=True)
class Account:
    """Things on disk, those used, and those left out by reason: the sum is exact.

    Attributes:
        what: ``images`` or ``boxes``.
        on_disk: all of them.
        used: those that a training uses.
        left_out: the others by reason.
        examples: one of them by reason, where there is a name to show.
    """

    what: str
    on_disk: int
    used: int
    left_out: Mapping[str, int]
    examples: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lost = sum(self.left_out.values())
        text = f"{self.what}: {self.on_disk} on disk = {self.used} used + {lost} left out"
        reasons = ", ".join(
            f"{count} {reason}{f', such as {self.examples[reason]}' if reason in self.examples else ''}"
            for reason, count in self.left_out.items()
        )
        return f"{text} ({reasons})" if reasons else text


def account_images(found: FoundData) -> Account:
    """The account of the images of a data set; those that are named and not there count nowhere."""
    left = {one.reason: one.count for one in found.left_out}
    shown = {one.reason: one.examples[0] for one in found.left_out if one.examples}
    used = found.images_on_disk - sum(left.values())
    return Account("images", found.images_on_disk, used, left, shown)


def account_boxes(sets: Sequence[RawSet]) -> Account:
    """The account of the labelled boxes."""
    left: Counter[str] = Counter()
    used = 0
    for raw in sets:
        for image in raw.images:
            large = large_enough(image.boxes)
            if not is_there(image.path):
                left["of images that are not there"] += len(image.names)
                continue
            used += int((large & ~image.ignore).sum())
            left["marked as crowd or difficult"] += int(image.ignore.sum())
            left["empty or under 1 pixel"] += int((~large & ~image.ignore).sum())
            left["repeated"] += image.repeated
        for problem in raw.problems:
            left[_reason(problem)] += problem.boxes
    kept = {reason: count for reason, count in left.items() if count}
    return Account("boxes", used + sum(kept.values()), used, kept)


def _reason(problem: LabelProblem) -> str:
    return _WHY[problem.kind]


def check_found(
    found: FoundData, on_image: OnDone = lambda done: None, read_images: bool = True
) -> DataReport:
    """Every fault of each split of a data set with boxes, and of the splits together."""
    reports: dict[str, SetReport] = {}
    done_before = 0
    for split in found.splits:

        def on_done(done: int, before: int = done_before) -> None:
            on_image(before + done)

        report = check_set(split.raw, read_images=read_images, on_image=on_done)
        if split.role == "test":  # published without labels, and not learnt from
            kept = tuple(one for one in report.findings if one.fault is not Fault.NOTHING)
            report = replace(report, findings=kept)
        reports[split.role] = report
        done_before += len(split.raw.images)
    train = [reports["train"]] if "train" in reports else []
    others = [report for role, report in reports.items() if role != "train"]
    return check_sets(train, others)
