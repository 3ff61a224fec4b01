"""The adapters that Vulkan lists, those with memory of their own first."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

__all__ = ["VulkanAdapter", "vulkan_adapters"]

LIBRARY = "libvulkan.so.1"
PROPERTIES_BYTES = 4096
"""VkPhysicalDeviceProperties has 824, of which `_Properties` are the first."""
DISCRETE, INTEGRATED, VIRTUAL, SOFTWARE = 2, 1, 3, 4
"""VkPhysicalDeviceType; 0: other."""
ORDER = (DISCRETE, VIRTUAL, INTEGRATED, 0, SOFTWARE)


@dataclass(frozen=True, kw_only=True)
class VulkanAdapter:
    """One adapter.

    Attributes:
        name: What its driver calls it.
        kind: VkPhysicalDeviceType.
        driver_version: As its driver counts it.
    """

    name: str
    kind: int
    driver_version: int


class _InstanceInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("next", ctypes.c_void_p),
        ("flags", ctypes.c_uint32),
        ("application", ctypes.c_void_p),
        ("layer_count", ctypes.c_uint32),
        ("layers", ctypes.c_void_p),
        ("extension_count", ctypes.c_uint32),
        ("extensions", ctypes.c_void_p),
    )


class _Properties(ctypes.Structure):
    _fields_ = (
        ("api_version", ctypes.c_uint32),
        ("driver_version", ctypes.c_uint32),
        ("vendor", ctypes.c_uint32),
        ("device", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("name", ctypes.c_char * 256),
    )


def vulkan_adapters() -> list[VulkanAdapter]:
    """Return the adapters, discrete ones first and software last; none without Vulkan."""
    try:
        vulkan = ctypes.CDLL(LIBRARY)
    except OSError:
        return []
    instance, info = ctypes.c_void_p(), _InstanceInfo(type=1)
    if vulkan.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance)):
        return []
    try:
        found = _adapters(vulkan, instance)
    finally:
        vulkan.vkDestroyInstance(instance, None)
    return sorted(found, key=lambda adapter: ORDER.index(adapter.kind))


def _adapters(vulkan: ctypes.CDLL, instance: ctypes.c_void_p) -> list[VulkanAdapter]:
    count = ctypes.c_uint32()
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    handles = (ctypes.c_void_p * count.value)()
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), handles)
    return [_adapter(vulkan, ctypes.c_void_p(handle)) for handle in handles[: count.value]]


def _adapter(vulkan: ctypes.CDLL, handle: ctypes.c_void_p) -> VulkanAdapter:
    memory = ctypes.create_string_buffer(PROPERTIES_BYTES)
    vulkan.vkGetPhysicalDeviceProperties(handle, memory)
    properties = _Properties.from_buffer(memory)
    return VulkanAdapter(
        name=properties.name.decode(errors="replace"),
        kind=properties.kind if properties.kind in ORDER else 0,
        driver_version=properties.driver_version,
    )
