"""fluorosim's renderer and its noise; the names for PyTorch where PyTorch is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.fluorosim.rendering.diffdrr_slang_renderer import (
        SlangDiffDRRConfig,
        SlangDiffDRRRenderer,
        render_diffdrr_slang,
    )
    from fluoro.fluorosim.rendering.realism import RealismConfig, apply_realism
    from fluoro.fluorosim.rendering.torch_drr import (
        SlangDiffDRRFunction,
        TorchSlangDiffDRR,
        create_slang_diffdrr_optimizer,
    )

__all__ = [
    "RealismConfig",
    "SlangDiffDRRConfig",
    "SlangDiffDRRRenderer",
    "apply_realism",
    "render_diffdrr_slang",
]

if find_spec("torch") is not None:
    __all__ += ["SlangDiffDRRFunction", "TorchSlangDiffDRR", "create_slang_diffdrr_optimizer"]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
