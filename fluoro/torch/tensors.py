"""What fluoro's PyTorch modules share: tensors as numbers, derivatives of the first order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError

try:
    import torch
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error.name} is missing: this part needs PyTorch, which fluoro's extra [torch] brings"
    ) from None

__all__ = ["Tensor", "first_order", "host", "torch", "unrounded", "without_autocast"]

Tensor = Any


class _FirstOrder(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """Gradients as they are; their derivative with respect to anything is an error."""

    @staticmethod
    def forward(ctx: Any, what: str, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the first `count` tensors; the others are what they depend on."""
        ctx.what = what
        return tensors[:count]

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        """Refuse."""
        raise NotImplementedError(
            f"{ctx.what} has first derivatives only; second ones (hessian, hvp, functional.jvp) "
            "are not available: take differences of first derivatives"
        )


def first_order(what: str, gradients: Sequence[Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """Return gradients that a further derivative does not pass in silence.

    PyTorch's `once_differentiable` cuts the gradients off from the function's inputs, so that a
    second derivative lacks their share without an error.

    Args:
        what: Name of the module, for the error.
        gradients: Gradients of any shape that a `backward` has found, without a graph.
        inputs: All tensors that the gradients depend on: saved ones and upstream gradients.

    Returns:
        The gradients, each of its shape.
    """
    found: tuple[Tensor, ...] = _FirstOrder.apply(what, len(gradients), *gradients, *inputs)
    return found


def host(tensor: Tensor) -> NDArray[np.float64]:
    """Return a tensor's values as an array of its shape, float64."""
    return np.asarray(tensor.detach().to("cpu", torch.float64).numpy())


def unrounded(**tensors: Tensor) -> tuple[Tensor, ...]:
    """Return real tensors of one device in the widest dtype among them, at least float32.

    Args:
        tensors: Tensors of any shape by the names that errors give them.

    Raises:
        TypeError: A value is no tensor.
        InputError: A tensor is complex, or the tensors lie on several devices.
    """
    dtype = torch.float32
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
        if tensor.is_complex():
            raise InputError(f"{name} must be real, got {tensor.dtype}")
        dtype = torch.promote_types(dtype, tensor.dtype)
    devices = {str(tensor.device) for tensor in tensors.values()}
    if len(devices) > 1:
        raise InputError(
            f"{' and '.join(tensors)} must be on one device, got {' and '.join(sorted(devices))}"
        )
    return tuple(tensor.to(dtype) for tensor in tensors.values())


def without_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which autocast does not round what is made of poses on a device.

    Args:
        tensor: Tensor of any shape on the device.
    """
    kind = tensor.device.type
    there = torch.amp.is_autocast_available(kind)
    context: AbstractContextManager[Any] = (
        torch.autocast(kind, enabled=False) if there else nullcontext()
    )
    return context
