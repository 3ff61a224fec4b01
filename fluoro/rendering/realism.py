"""Where fluorosim's scripts look for its noise and blur."""

from fluoro.compat.realism import RealismConfig, apply_realism

__all__ = ["RealismConfig", "apply_realism"]
