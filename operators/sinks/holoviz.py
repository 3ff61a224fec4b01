"""The native window; Holoviz itself needs an NVIDIA GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holoscan.core import (
    ExecutionContext,
    InputContext,
    IOSpec,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.config import Config, HolovizConfig
from fluoro.errors import DeviceError
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.selection import choose_device
from operators.gil_state import keep_gil_state
from operators.messages import as_array, header_of, host_image
from operators.sinks.base import Sink

if TYPE_CHECKING:
    from operators.context import RunContext

__all__ = ["HolovizFeedOp", "HolovizSink", "require_holoviz"]

FIX = "leave it out (holoviz.enabled: false) and use the console"


def require_holoviz() -> None:
    """See whether Holoviz can run here, before anything is loaded for it.

    Raises:
        DeviceError: No NVIDIA GPU, or Holoviz does not load.
    """
    try:
        choose_device("cuda")
    except DeviceError:
        raise DeviceError(
            f"holoviz.enabled: true needs an NVIDIA GPU and its driver, which are not here; {FIX}"
        ) from None
    try:
        from holoscan.operators import HolovizOp  # noqa: F401
    except ImportError as error:
        raise DeviceError(
            f"holoviz.enabled: true needs libraries that do not load ({error}); {FIX}"
        ) from None


class HolovizSink(Sink):
    """Shows frames in a window of this machine.

    Args:
        config: How it is shown.
    """

    name = "holoviz"

    def __init__(self, config: HolovizConfig) -> None:
        self._config = config

    @classmethod
    def check(cls, config: Config) -> None:
        """See whether Holoviz can run here, where it is wanted."""
        if config.holoviz.enabled:
            require_holoviz()

    @classmethod
    def from_config(cls, context: RunContext) -> HolovizSink | None:
        """Return the sink; None where it is off."""
        config = context.config.holoviz
        return cls(config) if config.enabled else None

    def operator(self, fragment: Any, device: ComputeDevice) -> Operator:
        """Return the operator that feeds Holoviz, connected to it."""
        feed = HolovizFeedOp(fragment, device=device, name="holoviz_feed")
        fragment.add_flow(feed, _window(fragment, self._config), {("view", "receivers")})
        return feed


class HolovizFeedOp(Operator):
    """Passes frames on in Holoviz's form: three axes, the last one the colours.

    Of two axes Holoviz would take the columns for colours. On CUDA and on the CPU nothing is
    copied; a Vulkan or Metal buffer comes to the host.

    Ports:
        frame (in): tensor (height, width) float32, display values in [0, 1]; newest only.
        view (out): the same as (height, width, 1).

    Args:
        device: Where the tensor lies.
    """

    def __init__(self, fragment: Any, *args: Any, device: ComputeDevice, **kwargs: Any) -> None:
        self._device = device
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports: one frame deep, a newer one replaces it."""
        spec.input("frame", size=1, policy=IOSpec.QueuePolicy.POP)
        spec.output("view")

    @keep_gil_state
    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Hand on one frame."""
        image = as_array(input_.receive("frame"))
        if self._device.kind not in ("cpu", "cuda"):
            image = host_image(image, header_of(self), self._device)
        self.metadata.clear()
        output.emit({"view": image.reshape(*image.shape, 1)}, "view")


def _window(fragment: Any, config: HolovizConfig) -> Any:
    """Holoscan's Holoviz operator, showing the image as grey levels; see `require_holoviz`."""
    from holoscan.operators import HolovizOp

    return HolovizOp(
        fragment,
        tensors=[{"name": "view", "type": "color", "opacity": 1.0, "priority": 0}],
        headless=config.headless,
        window_title="fluoro",
        name="holoviz",
    )
