"""Line integrals to the picture."""

from __future__ import annotations

from typing import Any

from holoscan.core import (
    ConditionType,
    ExecutionContext,
    InputContext,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.config import ImageChainConfig, WindowConfig
from fluoro.console.controls import ControlState, LiveControls
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.frame import FrameHeader
from operators.messages import HEADER, as_array, emit

__all__ = ["ImageChainOp"]


class ImageChainOp(Operator):
    """Applies the image chain with the console's dose, window and polarity of the moment.

    Ports:
        integrals (in): tensor (height, width) float32, line integrals.
        record (out): tensor (height, width) float32, display values in [0, 1], every frame; the
            header with stamp `chain_end` as metadata.
        view (out): the same tensor for displays; what they do not take in time is dropped.

    Args:
        chain: The stages.
        config: Which of them, with which numbers.
        controls: Dose, window and polarity.
        displays: Whether anything listens at `view`.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        chain: ImageChain,
        config: ImageChainConfig,
        controls: LiveControls,
        displays: bool,
        **kwargs: Any,
    ) -> None:
        self._chain, self._config, self._controls = chain, config, controls
        self._displays = displays
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("integrals")
        spec.output("record")
        if self._displays:
            spec.output("view").condition(ConditionType.NONE)

    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Make one picture."""
        integrals = as_array(input_.receive("integrals"))
        header: FrameHeader = self.metadata[HEADER]
        config = with_controls(self._config, self._controls.snapshot())
        geometry = header.geometry
        image = self._chain.apply(
            integrals, config, header.number, geometry.pixel_spacing_mm, geometry
        )
        header = header.stamped("chain_end")
        emit(self, output, "record", image, header)
        if self._displays:
            emit(self, output, "view", image, header)


def with_controls(config: ImageChainConfig, state: ControlState) -> ImageChainConfig:
    """The configuration with what a user has set on the console."""
    window = WindowConfig(level=state.window_level, width=state.window_width)
    return config.model_copy(
        update={"dose_ngy": state.dose_ngy, "polarity": state.polarity, "window": window}
    )
