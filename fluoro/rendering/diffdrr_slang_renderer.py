"""Where fluorosim's scripts look for its renderer; PyTorch is imported when a name needs it."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from fluoro.compat.lazy import lazy_names
from fluoro.compat.slang_renderer import (
    SlangDiffDRRConfig,
    SlangDiffDRRRenderer,
    render_diffdrr_slang,
)

if TYPE_CHECKING:
    from fluoro.compat.torch_drr import (
        SlangDiffDRRFunction,
        TorchSlangDiffDRR,
        create_slang_diffdrr_optimizer,
    )

__all__ = ["SlangDiffDRRConfig", "SlangDiffDRRRenderer", "render_diffdrr_slang"]

if find_spec("torch") is not None:
    __all__ += ["SlangDiffDRRFunction", "TorchSlangDiffDRR", "create_slang_diffdrr_optimizer"]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__ = lazy_names(
        __name__,
        dict.fromkeys(
            ("SlangDiffDRRFunction", "TorchSlangDiffDRR", "create_slang_diffdrr_optimizer"),
            "fluoro.compat.torch_drr",
        ),
    )
