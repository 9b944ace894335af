"""Small inputs of reports to other projects, which failed once, and the tests that make each again.

The inputs lie beside the checkout of who maintains it, and are no part of it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT, SHARED

FOLDER = SHARED / "cases"

FILE, AUDIO = "tests/video/sources/test_file.py", "tests/video/sinks/test_audio.py"
IMAGES, MEDIA = "tests/video/sources/test_images.py", "tests/video/sources/test_media.py"
NETWORK, OPEN = "tests/video/sources/test_network.py", "tests/video/sources/test_open.py"
SECRETS, RECOGNISE = "tests/acceptance/test_secrets.py", "tests/data/layouts/test_recognise.py"
IMPORTERS, STANDARD = "tests/export/importers/test_importers.py", "tests/export/importers/test_standard.py"
FORMATS, CLASSES = "tests/data/formats/test_formats.py", "tests/data/test_classes.py"

CASES = {
    "animated-webp-and-png": [f"{IMAGES}::test_animated_webp_and_png_are_videos"],
    "colon-in-file-name": [
        "tests/video/codec/test_container.py::test_a_name_that_looks_like_a_protocol_is_a_file",
        "tests/video/codec/test_container.py::test_an_output_that_looks_like_a_protocol_is_a_file",
    ],
    "damaged": [
        f"{AUDIO}::test_one_wrong_time_of_sound_costs_nothing",
        f"{FILE}::test_an_unknown_codec_is_one_line",
        f"{FILE}::test_files_of_reports",
    ],
    "data": [f"{RECOGNISE}::test_a_layout_is_recognised_and_counted"],
    "exif-in-mjpeg": [
        f"{FILE}::test_exif_in_motion_jpeg",
        f"{NETWORK}::test_jpeg_images_over_http_have_the_time_of_their_arrival",
    ],
    "families": ["tests/export/importers/test_recognise.py::test_a_family_is_found_from_the_file_alone"],
    "flv-cut-in-half": [f"{FILE}::test_a_file_cut_in_half_is_told_and_a_whole_one_is_not"],
    "gif-holds-last-picture": [f"{FILE}::test_a_gif_that_holds_its_last_image_is_whole"],
    "h264-with-b-frames-in-avi": [f"{FILE}::test_b_frames_in_avi_have_even_times"],
    "hdr-video-is-grey": ["tests/video/codec/test_colour.py::test_reference_white_of_hdr_is_white"],
    "heic-tiles": [
        "tests/video/codec/test_heif.py::test_tiles_are_joined",
        "tests/video/codec/test_heif.py::test_alpha_of_tiles_of_another_size_and_premultiplied",
    ],
    "hls-live-bursts": [f"{NETWORK}::test_a_live_playlist_is_read_at_the_pace_of_its_times"],
    "hls-master-takes-smallest": [
        f"{NETWORK}::test_of_a_master_playlist_the_best_variant_is_read_and_no_other",
        f"{NETWORK}::test_a_master_playlist_in_a_folder",
    ],
    "http-file-loses-sound": [f"{AUDIO}::test_a_recording_on_a_web_server_keeps_its_sound"],
    "joined-ts-loses-sound": [f"{AUDIO}::test_joined_transport_streams_keep_sound_and_images"],
    "mistyped-address-shows-password": [
        f"{OPEN}::test_a_mistyped_address_is_refused_before_anything_is_opened",
        f"{SECRETS}::test_sources_that_fail",
    ],
    "mjpeg-over-http-clock": [f"{NETWORK}::test_jpeg_images_over_http_have_the_time_of_their_arrival"],
    "mov-sound-in-other-channel-order": [
        "tests/video/sinks/test_channels.py::test_a_foreign_order_does_not_end_the_process"
    ],
    "mp3-sound-below-16-kHz": [f"{AUDIO}::test_mp3_that_mp4_cannot_hold_is_encoded_again"],
    "password-digits-then-sign": [
        "tests/test_address.py::test_what_is_shown",
        f"{OPEN}::test_nobody_is_asked_for_an_address_that_a_raw_sign_cuts",
    ],
    "password-with-quote-in-results": [
        "tests/test_address.py::test_what_is_shown",
        "tests/acceptance/test_live_rtsp.py::test_a_password_with_any_signs_works_and_is_nowhere",
    ],
    "raw-h264-at-30": [f"{FILE}::test_raw_h264_has_the_rate_of_its_codec"],
    "rtsp-scheme-in-capitals": [f"{OPEN}::test_schemes_have_no_case_and_blanks_around_are_nothing"],
    "rtsp-server-with-udp-only": [f"{NETWORK}::test_a_server_without_the_transport_that_is_asked_for"],
    "several-video-streams": [
        "tests/video/codec/test_decode.py::test_of_several_video_streams_the_default_is_used_and_named"
    ],
    "small-image-faults": [
        f"{IMAGES}::test_alpha_of_a_tiff_is_applied_once",
        f"{IMAGES}::test_orientation_of_a_png",
    ],
    "spans": ["tests/video/sources/test_span.py::test_clips_with_known_frames"],
    "still-heic-avif-gif-as-image": [
        f"{IMAGES}::test_stills_of_reports_are_images",
        f"{MEDIA}::test_photos_of_phones_are_images",
        f"{MEDIA}::test_a_still_gif_is_an_image_and_a_moving_one_a_video",
    ],
}
"""Tests by the folder of a case."""

MODELS = {
    "calibrate-weights-in-constant-nodes": [
        f"{STANDARD}::test_a_graph_written_otherwise_answers_the_same_and_shows_its_weights",
        "tests/calibration/test_float_model.py::test_every_convolution_is_found_whatever_way_its_weights_come",
    ],
    "class-aliases-merge": [
        f"{CLASSES}::test_aliases_only_bridge_names_that_are_absent",
        f"{CLASSES}::test_names_that_would_meet_are_refused",
    ],
    "coco-duplicate-image-ids": [f"{FORMATS}::test_two_images_of_one_coco_id_are_named"],
    "coco-one-bad-annotation": [f"{FORMATS}::test_one_bad_coco_annotation_leaves_the_rest"],
    "coco-path-in-file-name": [f"{FORMATS}::test_folders_in_file_names_are_found"],
    "fp16-and-parity-of-end-to-end-models": [
        "tests/export/importers/test_heads.py::test_what_is_sorted_at_the_end_has_its_heads_before"
    ],
    "import-fp16-nodes-not-sorted": [
        f"{STANDARD}::test_half_precision_with_its_casts_at_the_end_answers_as_single"
    ],
    "import-logits": [f"{IMPORTERS}::test_logits_go_through_a_sigmoid"],
    "import-more-classes-than-cells": [f"{IMPORTERS}::test_more_classes_than_cells_are_read_by_the_names"],
    "import-names-with-string-keys": [
        f"{IMPORTERS}::test_names_of_the_file_are_read_as_python_and_as_json",
        f"{IMPORTERS}::test_names_of_the_file_that_are_empty_or_twice_are_refused_unless_others_are_given",
    ],
    "import-node-domain-ai-onnx": [
        f"{STANDARD}::test_a_graph_written_otherwise_answers_the_same_and_shows_its_weights"
    ],
    "import-normalised-boxes": [
        f"{IMPORTERS}::test_boxes_that_are_shares_of_the_input_are_scaled",
        f"{IMPORTERS}::test_corners_that_are_shares_of_the_input_are_scaled",
    ],
    "import-precision-said-to-be-fp32": [
        f"{IMPORTERS}::test_half_precision_networks_are_fed_and_read_in_their_own_type"
    ],
    "names-file-with-bom": [f"{CLASSES}::test_a_byte_order_mark_is_no_part_of_a_name"],
    "train-batch-1-at-128": [
        "tests/training/test_refusals.py::test_what_torch_raises_is_one_line_with_a_remedy"
    ],
    "train-refuses-what-coco-holds": [
        "tests/training/test_refusals.py::test_single_bad_labels_are_left_out_and_refused_by_strict"
    ],
    "train-small-dev-shm-hangs": ["tests/data/test_stream.py::test_workers_fit_into_shared_memory"],
    "voc-upper-case-suffix": [f"{FORMATS}::test_voc_images_of_cameras_and_names_with_blanks"],
    "yolo-float-class-ids": [f"{FORMATS}::test_whole_floats_are_yolo_classes"],
    "yolo-layouts-of-others": [f"{FORMATS}::test_folders_as_other_tools_lay_them_out"],
    "yolo-names-yes-no": [f"{FORMATS}::test_yolo_names_are_read_as_they_are_written"],
    "yolo-same-label-twice": [f"{FORMATS}::test_a_label_that_is_written_twice_counts_once"],
}
"""Tests by the folder of a case of imports, labels, training and calibration."""


@lru_cache
def _tests_of(path: str) -> frozenset[str]:
    return frozenset(
        re.findall(r"^def (test_\w+)\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    )


@pytest.mark.parametrize("case", [*CASES, *MODELS])
def test_the_tests_of_a_case_exist(case: str) -> None:
    named = {**CASES, **MODELS}[case]
    assert named
    for path, _, test in (one.partition("::") for one in named):
        assert test in _tests_of(path), (path, test)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="../shared/cases is not here")
@pytest.mark.parametrize(
    ("folder", "table"),
    [(FOLDER, {*CASES, "models"}), (FOLDER / "models", set(MODELS))],
    ids=["media", "models"],
)
def test_every_case_is_in_the_table(folder: Path, table: set[str]) -> None:
    found = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))}
    assert found == table
