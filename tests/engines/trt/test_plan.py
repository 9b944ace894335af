"""What lies beside a plan: written with it, read without TensorRT, refused where it does not fit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgevision.contract.model_file import read_manifest
from edgevision.engines.trt.plan import (
    BatchRange,
    check_plan,
    decode_plan_info,
    read_plan_info,
    sha256_of,
    write_plan,
)
from edgevision.errors import EngineMismatchError, ManifestError, ModelError, SinkError, UsageError
from tests.support.gpu import SHA256_OF_PLAN, plan_info


def test_what_is_written_is_read_again_and_nothing_else_is_left(tmp_path: Path) -> None:
    plan = tmp_path / "colours.engine"
    info = plan_info(dla_core=0, dla_fallback=("post/TopK_1",), workspace_mib=512)
    write_plan(plan, b"plan", info)
    assert read_plan_info(plan) == info
    assert plan.read_bytes() == b"plan"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colours.engine", "colours.engine.json"]
    assert sha256_of(plan) == SHA256_OF_PLAN
    check_plan(plan, info)
    assert read_manifest(plan) == info.manifest  # what the runtime reads of any model file


def test_the_runtime_reads_it_without_onnx_or_tensorrt(tmp_path: Path) -> None:
    plan = tmp_path / "colours.engine"
    write_plan(plan, b"plan", plan_info())
    code = (
        "import sys; from edgevision.engines.trt.plan import read_plan_info\n"
        f"print(read_plan_info({str(plan)!r}).describe())\n"
        "print([name for name in ('onnx', 'torch', 'tensorrt', 'tensorrt_rtx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    described = "TensorRT for RTX 1.7.1, rtx40 (compute capability 8.9), batch 1 4 8"
    assert done.stdout.splitlines() == [described, "[]"]


def test_changed_bytes_are_noticed(tmp_path: Path) -> None:
    plan = tmp_path / "colours.engine"
    write_plan(plan, b"plan", plan_info())
    plan.write_bytes(b"plam")
    with pytest.raises(EngineMismatchError, match=r"colours\.engine\.json describes.*compile it again"):
        check_plan(plan, read_plan_info(plan))


def test_a_missing_plan_or_contract(tmp_path: Path) -> None:
    plan = tmp_path / "colours.engine"
    with pytest.raises(ModelError, match="edgevision compile"):
        read_plan_info(plan)
    plan.write_bytes(b"plan")
    with pytest.raises(ManifestError, match=r"expected its contract beside it in colours\.engine\.json"):
        read_plan_info(plan)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 99}, "plan schema 99, but this edgevision reads schema 1"),
        ({"schema": None}, "plan schema None"),
        ({"batch": {"minimum": 4, "optimum": 2, "maximum": 8}}, "1 <= MIN <= OPT <= MAX"),
        ({"flavour": "tensorrt-lite"}, "flavour"),
        ({"plan_sha256": 5}, "plan_sha256"),
        ({"manifest": {"name": "colours"}}, "task"),
    ],
)
def test_a_malformed_document_is_one_clear_line(change: dict[str, object], says: str) -> None:
    document = {**json.loads(msgspec.json.encode(plan_info())), **change}
    with pytest.raises(ManifestError) as caught:
        decode_plan_info(json.dumps(document).encode(), "x.engine.json")
    assert says in str(caught.value)
    assert "compile the" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe", b'{"schema": 1}'])
def test_what_is_no_plan_document_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestError, match=r"x\.engine\.json"):
        decode_plan_info(text, "x.engine.json")


def test_a_contract_that_contradicts_itself_is_refused() -> None:
    document = json.loads(msgspec.json.encode(plan_info()))
    document["manifest"]["max_detections"] = 0
    with pytest.raises(ManifestError, match="max_detections"):
        decode_plan_info(json.dumps(document).encode(), "x.engine.json")


@pytest.mark.parametrize("sizes", [(0, 1, 1), (2, 1, 3), (1, 3, 2), (-1, -1, -1)])
def test_batch_sizes_in_the_wrong_order_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="MIN <= OPT <= MAX"):
        BatchRange(*sizes)


@pytest.mark.parametrize("blocked", ["colours.engine", "colours.engine.json"])
def test_both_files_or_none(tmp_path: Path, blocked: str) -> None:
    (tmp_path / blocked).mkdir()  # a file cannot take the place of a folder
    with pytest.raises(SinkError, match=f"cannot write .*{blocked}:"):
        write_plan(tmp_path / "colours.engine", b"plan", plan_info())
    assert [path.name for path in tmp_path.iterdir()] == [blocked]
