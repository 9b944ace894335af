"""Names of files by what they hold: every suffix in lower case; compare with ``path.suffix.lower()``."""

from __future__ import annotations

SAVED_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""Images that are read and written."""

IMAGE_SUFFIXES = (*SAVED_IMAGE_SUFFIXES, ".jpe", ".jfif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm")
"""Images that are read."""

MAYBE_IMAGE_SUFFIXES = (".gif", ".apng", ".heic", ".heif", ".hif", ".avif")
"""Images or videos: the number of images in the file decides."""

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv",
    ".3gp", ".ogv", ".gif", ".mjpeg", ".mjpg", ".h264", ".h265", ".hevc", ".264", ".265", ".vob", ".asf",
    ".mxf", ".y4m",
)  # fmt: skip
"""Videos that are read."""

PLAN_SUFFIXES = (".engine", ".plan")
"""TensorRT plans."""

ONNX_SUFFIX = ".onnx"

MODEL_SUFFIXES = (ONNX_SUFFIX, *PLAN_SUFFIXES)
"""Models that the runtime opens."""

CHECKPOINT_SUFFIXES = (".pt", ".pth")
"""Checkpoints of a training."""
