"""The image chain with what a user sets on the console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fluoro.config import Config, ImageChainConfig, WindowConfig
from fluoro.console.controls import ControlState, LiveControls
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.exposure.dose_meter import Pulse
from fluoro.imaging.frame import FluoroFrame, FrameHeader
from fluoro.rendering.devices.base import Fence
from fluoro.steady_clock import steady_ns

__all__ = ["BegunImage", "LiveChain", "held_config", "lines_up", "with_controls"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BegunImage:
    """An image that the image chain is computing.

    Attributes:
        image: Display values in [0, 1], (height, width) float32, not to be read before `fence`.
        config: What it is made with.
        pulse: The same of its X-rays.
        fence: What to wait for.
        begun_ns: When, Unix time [ns].
    """

    image: Any
    config: ImageChainConfig
    pulse: Pulse
    fence: Fence
    begun_ns: int


def lines_up(config: ImageChainConfig) -> bool:
    """Return whether an image is begun without a wait, so that it may follow its rendering at once.

    The control of the brightness reads an image before it goes on.
    """
    return config.brightness is None


class LiveChain:
    """Begins images with the console's dose, window and polarity of the moment.

    Args:
        chain: The stages.
        config: Which of them, with which numbers.
        controls: Dose, window, polarity, mask and pulses.
    """

    def __init__(self, chain: ImageChain, config: ImageChainConfig, controls: LiveControls) -> None:
        self._chain, self._config, self._controls = chain, config, controls
        self._masks, self._first_of_series = 0, config.dsa.first_frame if config.dsa else 0
        self._state: ControlState | None = None
        self._shown = config
        self._integrals: Any = None
        self._finished: FrameHeader | None = None
        self._look = _look(config)

    def begin(
        self, integrals: Any, header: FrameHeader, rendering: Fence | None = None
    ) -> BegunImage:
        """Begin to compute the image of a frame.

        Args:
            integrals: As for `ImageChain.apply`.
            header: Of the frame.
            rendering: What has to be done before; None: the integrals are there.
        """
        if rendering:
            self._chain.device.after(rendering)
        config, geometry, begun_ns = self._config_of(header), header.geometry, steady_ns()
        self._integrals, self._look = integrals, _look(config)
        image = self._chain.start(
            integrals,
            config,
            header.number,
            geometry.pixel_spacing_mm,
            geometry,
            pulse=header.pulse,
        )
        return BegunImage(
            image=image,
            config=config,
            pulse=self._chain.pulse,
            fence=self._chain.device.fence(),
            begun_ns=begun_ns,
        )

    def finished(self, header: FrameHeader) -> None:
        """Take note of a frame that is done, by its header with the exposure."""
        self._finished = header

    @property
    def last_header(self) -> FrameHeader | None:
        """Header of the last frame that is done; None: there was none."""
        return self._finished

    def is_idle(self, issued: int) -> bool:
        """Return whether the last of `issued` frames is done."""
        return self._finished is not None and self._finished.number == issued - 1

    def look_again(self, state: ControlState) -> FluoroFrame | None:
        """Return the last frame as the controls show it; None: that is as before, or not kept.

        Only while the chain is idle.

        Args:
            state: Of the controls.
        """
        header, config = self._finished, with_controls(self._config, state)
        if header is None or _look(config) == self._look:
            return None
        geometry = header.geometry
        image = self._chain.look_again(self._integrals, config, geometry.pixel_spacing_mm, geometry)
        if image is None:
            return None
        self._look = _look(config)
        return header.frame(self._chain.device.to_host(image))

    def _config_of(self, header: FrameHeader) -> ImageChainConfig:
        """The configuration of a frame; a mask that was requested begins with it."""
        state = self._controls.snapshot()
        if state is not self._state:
            if state.masks != self._masks:
                self._masks, self._first_of_series = state.masks, header.number
            self._state, self._shown = state, self._controlled(state)
        return self._shown

    def _controlled(self, state: ControlState) -> ImageChainConfig:
        config = with_controls(self._config, state)
        if config.dsa is None:
            return config
        dsa = config.dsa.model_copy(update={"first_frame": self._first_of_series})
        return config.model_copy(update={"dsa": dsa})


def _look(config: ImageChainConfig) -> tuple[WindowConfig | None, ...]:
    """What a user may change of an image that is made."""
    return config.window, config.dsa.window if config.dsa else None, config.polarity


def held_config(config: Config) -> ImageChainConfig:
    """The chain of a run, which keeps each image before its window where the console shows it."""
    chain = config.image_chain
    if not config.console.enabled:
        return chain
    return chain.model_copy(update={"pulse_rate_hz": chain.pulse_rate_hz or config.run.fps})


def with_controls(config: ImageChainConfig, state: ControlState) -> ImageChainConfig:
    """Return the configuration with what a user has set on the console."""
    window = WindowConfig(level=state.window_level, width=state.window_width)
    changes: dict[str, Any] = {
        "dose_ngy": state.dose_ngy,
        "polarity": state.polarity,
        "pulse_rate_hz": state.pulse_rate_hz or config.pulse_rate_hz,
    }
    if config.dsa:
        shift = (state.mask_shift_x_px, state.mask_shift_y_px)
        changes["dsa"] = config.dsa.model_copy(update={"pixel_shift": shift, "window": window})
    else:
        changes["window"] = window
    if config.image_intensifier and state.magnification != 1:
        field_mm = config.image_intensifier.diameter_mm / state.magnification
        changes["image_intensifier"] = config.image_intensifier.model_copy(
            update={"diameter_mm": field_mm}
        )
    return config.model_copy(update=changes)
