"""Faults that were repaired, by item, each with the tests that hold its right value.

`tools/check/faults_at.sh REV` runs these tests against the sources of an earlier revision, where
they must fail.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ITEMS: dict[str, tuple[str, ...]] = {
    # 1. A CT series of two acquisitions is read as one volume.
    "phases": (
        "volume/test_dicom_sets.py::test_two_acquisitions_between_each_others_slices_are_refused_and_chosen",
        "volume/test_dicom_sets.py::test_every_attribute_that_distinguishes_sets_is_named_with_its_values",
        "volume/test_dicom_sets.py::test_a_contrast_agent_that_only_one_set_names_distinguishes_them",
        "volume/test_dicom_sets.py::test_two_multi_frame_files_of_one_series_are_chosen_by_file",
        "volume/test_dicom_sets.py::test_the_attribute_with_the_longest_sets_is_named",
        "volume/test_dicom_sets.py::test_alternating_slices_without_any_attribute_are_refused",
        "volume/test_dicom_sets.py::test_the_commands_refuse_two_phases_and_read_the_chosen_one",
    ),
    # 2. Slices are lost in a walk through folders.
    "folder walk": ("volume/test_folder_walk.py",),
    # 3. Placement by an old SimpleITK; options of readers without effect.
    "placement": (
        "volume/test_readers.py::test_a_reader_that_places_a_volume_otherwise_is_refused",
        "volume/test_readers.py::test_each_nrrd_space_is_placed_by_its_definition",
        "volume/test_readers.py::test_the_refusal_of_a_bad_sform_names_the_key_that_takes_the_qform",
        "project/test_app.py::test_the_chosen_transform_of_a_nifti_counts_in_every_command",
        "project/test_app.py::test_options_of_reading_have_no_effect_on_a_preprocessed_folder",
        "config/test_config.py::test_the_kind_of_a_section_is_no_part_of_a_key",
        "config/test_config.py::test_sections_with_a_kind_are_found_in_the_models",
        "config/test_config.py::test_a_value_of_several_types_is_named_by_its_key",
    ),
    # 4. Second derivatives, mixed dtypes, copies of modules.
    "derivatives": (
        "torch/test_torch_poses.py::test_second_derivatives_of_images_are_refused_not_wrong",
        "torch/test_torch_poses.py::test_second_derivatives_of_poses_pass_pytorchs_check",
        "torch/test_torch_poses.py::test_parameters_of_different_dtypes_give_the_pose_of_the_widest",
        "torch/test_torch_poses.py::test_autocast_does_not_round_poses_or_pixels",
        "torch/test_torch_poses.py::test_gradient_is_that_of_the_image_whatever_becomes_of_detector_and_pose",
        "torch/test_torch_poses.py::test_copy_of_a_module_has_a_detector_of_its_own",
        "torch/test_torch_poses.py::test_a_matrix_that_is_no_rigid_motion_is_refused",
        "fluorosim/test_slang_renderer.py::test_second_derivatives_are_refused_not_wrong",
        "fluorosim/test_slang_renderer.py::test_tensors_that_are_no_poses_are_refused",
        "fluorosim/test_slang_renderer.py::test_copy_of_a_module_renders_the_same_and_a_pickle_is_refused_in_one_line",
    ),
    # 5. Images of other programs as targets.
    "foreign images": (
        "registration/test_target_images.py::test_a_tiff_whose_0_is_white_is_inverted",
        "registration/test_target_images.py::test_an_orientation_is_applied",
        "registration/test_target_images.py::test_the_orientation_of_a_jpeg_is_applied",
        "registration/test_target_images.py::test_a_file_of_several_images_is_refused",
        "registration/test_target_images.py::test_the_numbers_of_a_tiff_are_its_own_whatever_their_type",
        "registration/test_target_images.py::test_unsigned_numbers_of_32_bits_stay_positive",
        "registration/test_target_images.py::test_16_bits_that_would_lose_8_are_refused",
        "registration/test_target_images.py::test_transparent_pixels_are_refused_and_opaque_ones_read",
        "registration/test_target_images.py::test_register_takes_a_target_as_a_viewer_shows_it_or_says_why_not",
    ),
    # 6. One message ends the run.
    "message fields": (
        "interop/test_dds_stamps.py::test_stamps_out_of_range_are_refused_by_field_and_the_run_goes_on",
        "interop/test_dds_stamps.py::"
        "test_times_on_clock_out_of_range_are_refused_by_field_and_the_run_goes_on",
        "interop/test_dds_stamps.py::test_transform_of_2106_is_refused_and_the_run_goes_on",
    ),
    # 7. The process aborts.
    "aborts": (
        "interop/test_aborts.py::test_peer_that_is_no_address_is_refused_by_validate",
        "interop/test_aborts.py::test_run_with_a_peer_that_does_not_resolve_ends_in_one_line",
        "interop/test_aborts.py::test_users_own_process_gets_an_error_and_goes_on",
        "interop/test_aborts.py::test_configuration_file_whose_name_is_not_utf_8_is_run",
        "interop/test_aborts.py::test_image_beyond_64_mb_is_refused_by_validate",
    ),
    # 8. Lockstep hangs for ever.
    "lockstep": (
        "interop/test_dds_stamps.py::test_lockstep_begins_again_when_the_publishers_time_is_set_back",
        "interop/test_dds_stamps.py::"
        "test_after_the_watchdog_time_the_next_pose_of_the_same_publisher_leads",
    ),
    # 9. Terminal and log are not the product.
    "terminal": (
        "operators/test_standard_streams.py::test_a_run_with_closed_descriptors_keeps_its_files_clean",
        "operators/test_standard_streams.py::test_a_run_whose_log_or_output_is_not_read_is_complete",
        "operators/test_standard_streams.py::test_closing_the_terminal_ends_the_run_with_its_record",
        "operators/test_standard_streams.py::test_a_second_hangup_does_not_cost_the_record",
    ),
    # 10. What a kill or a full disk leaves.
    "kill and full disk": (
        "recording/test_repair.py::test_a_killed_run_keeps_the_pose_of_each_image_and_is_repaired",
        "recording/test_repair.py::test_a_disk_too_full_for_run_json_leaves_what_it_is_made_from",
        "recording/test_repair.py::test_a_bag_on_a_full_disk_is_repaired",
    ),
    # 11. Time of an image, of films and of rates.
    "time": (
        "operators/test_run_time.py",
        "interop/test_dds_stamps.py::test_sender_whose_clock_is_off_is_named_once_and_in_the_diagnostics",
        "operators/test_stop.py::test_sigterm_ends_a_run_that_waits_for_its_next_frame",
        "operators/test_stop.py::test_sigterm_ends_a_run_whose_openigtlink_client_never_reads",
        "operators/test_stop.py::test_sigterm_ends_a_run_whose_browser_never_reads",
    ),
    # 12. Leaks of descriptors, threads and log lines.
    "leaks": (
        "interop/test_link_leaks.py::test_clients_that_leave_while_no_frame_is_made_leave_nothing_behind",
        "interop/test_link_leaks.py::test_server_outlives_a_time_without_free_descriptors",
        "interop/test_link_leaks.py::test_close_does_not_wait_for_a_client_that_never_reads",
        "interop/test_link_leaks.py::test_refused_controls_are_one_line_a_key_and_second_with_their_number",
    ),
    # 13. Who may do what.
    "security": (
        "operators/test_tracking_graph.py::test_a_class_that_is_no_optimiser_is_rejected_before_it_is_called",
        "console/test_console_access.py::test_a_page_at_a_foreign_name_gets_neither_page_nor_websocket",
        "console/test_console_access.py::test_beyond_loopback_page_and_websocket_need_the_token_of_the_printed_address",
        "console/test_console_access.py::test_a_console_beyond_loopback_is_logged_as_a_warning",
        "console/test_console_access.py::test_a_page_behind_a_reverse_proxy_without_the_key_is_logged_with_the_key",
        "console/test_console_access.py::test_public_url_lets_page_and_websocket_through_a_reverse_proxy",
    ),
    # 14. The pedal is a dead-man's switch.
    "pedal": (
        "console/test_console_pedal_page.py::test_no_other_button_of_the_mouse_presses_the_pedal",
        "console/test_console_pedal_page.py::test_space_is_the_pedal_wherever_the_pointer_clicked_before",
        "console/test_console_pedal_page.py::test_the_beam_ends_when_the_tab_is_closed",
        "console/test_console_pedal_page.py::test_of_two_pages_the_last_release_ends_the_beam",
        "console/test_console_pedal_page.py::test_a_pedal_released_while_the_socket_is_cut_stays_up",
    ),
    # 15. A silent link is seen.
    "silent link": (
        "console/test_console_silence.py::test_a_silent_link_is_seen_within_two_seconds_and_nothing_can_be_set",
        "console/test_console_silence.py::test_what_is_done_during_a_silence_is_not_done_later",
        "console/test_console_silence.py::test_the_beam_ends_when_the_link_of_its_holder_falls_silent",
        "console/test_console_silence.py::test_over_a_slow_link_a_frame_is_seen_within_three_seconds",
    ),
    # 16. Tracking's default measure.
    "tracking measure": (
        "operators/test_tracking_graph.py::"
        "test_what_the_default_measure_believes_is_right_under_scatter_and_a_spectrum",
    ),
    # 17. Solids in a patient who moves.
    "moving solids": (
        "rendering/test_moving_solids.py::test_solid_and_its_hole_are_seen_where_they_would_lie_moved",
        "rendering/test_moving_solids.py::test_contrast_leaves_the_box_of_its_vessels",
    ),
}
"""Tests by item, each as `file.py::function` or `file.py` under tests/."""


def functions(path: Path) -> set[str]:
    """Names of a test file's functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("item", ITEMS)
def test_each_item_names_tests_that_exist(item: str) -> None:
    assert ITEMS[item], f"{item} has no test"
    for test in ITEMS[item]:
        file, _, function = test.partition("::")
        assert (ROOT / "tests" / file).is_file()
        assert not function or function in functions(ROOT / "tests" / file)
