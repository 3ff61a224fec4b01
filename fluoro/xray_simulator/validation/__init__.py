"""xray_simulator's comparison of images: of the same subject, pose and detector, pixel by pixel."""

from fluoro.xray_simulator.validation.metrics import attenuation_from_intensity, evaluate_pair

__all__ = ["attenuation_from_intensity", "evaluate_pair"]
