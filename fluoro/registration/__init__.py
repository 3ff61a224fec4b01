"""Where did the C-arm stand? Targets, similarity measures, optimisers, registration, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.registration.config import RegisterConfig, load_register_config
    from fluoro.registration.measures.choice import MEASURES, make_measure
    from fluoro.registration.measures.metrics import (
        cube_corners_xyz_mm,
        geodesic_distance,
        mrpe_mm,
        mtre_mm,
        success_rate,
    )
    from fluoro.registration.measures.mutual_information import MutualInformation
    from fluoro.registration.measures.similarity import (
        GradientNcc,
        LeastSquaresMeasure,
        LocalNcc,
        Measure,
        MultiScaleNcc,
        Ncc,
    )
    from fluoro.registration.polyrigid import PartPose, register_parts
    from fluoro.registration.pose_loss import PoseLoss
    from fluoro.registration.register import Registrar
    from fluoro.registration.register_run import RegisterOutcome, run_register
    from fluoro.registration.report.result import RegistrationResult, Step
    from fluoro.registration.rigid_motion import motion_about, moved_view
    from fluoro.registration.search.optimisers import adam, lbfgs, levenberg_marquardt
    from fluoro.registration.search.pose_problem import PoseProblem
    from fluoro.registration.search.starts import twist_at_mtre
    from fluoro.registration.search.uncertainty import fit_pose
    from fluoro.registration.targets.frame_target import target_from_frame
    from fluoro.registration.targets.rendered_target import rendered_image
    from fluoro.registration.targets.target import Target
    from fluoro.registration.tracking.tracker import PoseEstimate, PoseTracker
    from fluoro.registration.tracking.user_optimiser import Optimiser
    from fluoro.registration.xray_target import read_xray_target

__all__ = [
    "MEASURES",
    "GradientNcc",
    "LeastSquaresMeasure",
    "LocalNcc",
    "Measure",
    "MultiScaleNcc",
    "MutualInformation",
    "Ncc",
    "Optimiser",
    "PartPose",
    "PoseEstimate",
    "PoseLoss",
    "PoseProblem",
    "PoseTracker",
    "RegisterConfig",
    "RegisterOutcome",
    "Registrar",
    "RegistrationResult",
    "Step",
    "Target",
    "adam",
    "cube_corners_xyz_mm",
    "fit_pose",
    "geodesic_distance",
    "lbfgs",
    "levenberg_marquardt",
    "load_register_config",
    "make_measure",
    "motion_about",
    "moved_view",
    "mrpe_mm",
    "mtre_mm",
    "read_xray_target",
    "register_parts",
    "rendered_image",
    "run_register",
    "success_rate",
    "target_from_frame",
    "twist_at_mtre",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
