"""A stand-in for CuPy over the stand-in driver: what fluoro and its tests use of it.

As CuPy's, its arrays do not turn into NumPy's by themselves, and live on a device.
"""

import ctypes
import math
import threading
import types
import weakref

import numpy as np

_driver = ctypes.CDLL("libcuda.so.1")
_driver.cuMemFree_v2.argtypes = [ctypes.c_uint64]
_driver.cuMemFreeHost.argtypes = [ctypes.c_void_p]
_here = threading.local()
float32, float64, int32, uint8 = np.float32, np.float64, np.int32, np.uint8


class CUDARuntimeError(RuntimeError):
    """As cupy.cuda.runtime.CUDARuntimeError."""


class OutOfMemoryError(MemoryError):
    """As cupy.cuda.memory.OutOfMemoryError."""


def _check(code):
    if code == 2:
        raise OutOfMemoryError("Out of memory")
    if code:
        raise CUDARuntimeError(f"stand-in driver: error {code}")


def _current():
    return getattr(_here, "device", 0)


def _enter(device):
    """Make the device's context current, as the CUDA runtime does."""
    context = ctypes.c_void_p()
    _check(_driver.cuInit(0))
    _check(_driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
    _check(_driver.cuCtxSetCurrent(context))


class _Device:
    def __init__(self, device=None):
        self.id = _current() if device is None else int(device)

    def __enter__(self):
        self._outer = _current()
        _here.device = self.id
        _enter(self.id)
        return self

    def __exit__(self, *_):
        _here.device = self._outer
        _enter(self._outer)

    def use(self):
        _here.device = self.id
        _enter(self.id)

    @property
    def mem_info(self):
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        with self:
            _check(_driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)))
        return free.value, total.value


class _Stream:
    def __init__(self, null=False, non_blocking=False):
        handle = ctypes.c_void_p()
        if not null:
            _enter(_current())
            _check(_driver.cuStreamCreate(ctypes.byref(handle), int(non_blocking)))
        self.ptr = handle.value or 0

    def synchronize(self):
        pass

    def wait_event(self, event):
        pass

    def __enter__(self):
        self._outer = _stream()
        _here.stream = self
        return self

    def __exit__(self, *_):
        _here.stream = self._outer


_null = _Stream(null=True)
_Stream.null = _null


def _stream():
    return getattr(_here, "stream", _null)


class _Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        pass

    def record(self, stream=None):
        pass

    def synchronize(self):
        pass


class _Pinned(np.ndarray):
    """Host memory that a copy need not wait for."""


def _pinned(size):
    memory = ctypes.c_void_p()
    _enter(_current())
    _check(_driver.cuMemAllocHost_v2(ctypes.byref(memory), size))
    block = (ctypes.c_ubyte * size).from_address(memory.value)
    weakref.finalize(block, _driver.cuMemFreeHost, memory.value)
    return block


def _runtime_count():
    count = ctypes.c_int()
    if _driver.cuInit(0) or _driver.cuDeviceGetCount(ctypes.byref(count)):
        raise CUDARuntimeError("no CUDA-capable device is detected")
    return count.value


def _properties(device):
    name = ctypes.create_string_buffer(256)
    _driver.cuDeviceGetName(name, 256, device)
    return {"name": name.value}


class _Memory:
    def __init__(self, size):
        address = ctypes.c_uint64()
        device = _current()
        _enter(device)
        _check(_driver.cuMemAlloc_v2(ctypes.byref(address), max(size, 1)))
        self.ptr, self.device = address.value, _Device(device)
        weakref.finalize(self, _driver.cuMemFree_v2, self.ptr)


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    """An array of a device; `_host` is the device's memory, which is the host's here."""

    def __init__(self, host, memory):
        self._host, self._memory = host, memory
        self.shape, self.dtype, self.ndim, self.size = host.shape, host.dtype, host.ndim, host.size
        self.nbytes, self.flags, self.strides = host.nbytes, host.flags, host.strides

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self._host.ctypes.data)

    @property
    def device(self):
        return self._memory.device

    @property
    def T(self):  # noqa: N802
        return ndarray(self._host.T, self._memory)

    @property
    def __cuda_array_interface__(self):
        return dict(self._host.__array_interface__, version=3, strides=None)

    def __array__(self, *_args, **_options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if any(isinstance(each, np.ndarray) and each.ndim for each in inputs):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        hosts = [getattr(each, "_host", each) for each in inputs]
        return _copied(getattr(ufunc, method)(*hosts, **options))

    def __array_function__(self, function, types, arguments, options):
        del types
        hosts = [getattr(each, "_host", each) for each in arguments]
        return _copied(function(*hosts, **options))

    def __len__(self):
        return len(self._host)

    def __getitem__(self, key):
        found = self._host[key]
        return ndarray(found, self._memory) if isinstance(found, np.ndarray) else _copied(found)

    def __setitem__(self, key, value):
        self._host[key] = value._host if isinstance(value, ndarray) else value

    def reshape(self, *shape):
        return ndarray(self._host.reshape(*shape), self._memory)

    def astype(self, dtype):
        return _copied(self._host.astype(dtype))

    def copy(self):
        return _copied(self._host)

    def sum(self, **options):
        return _copied(self._host.sum(**options))

    def get(self, stream=None, order="C", out=None, blocking=True):
        del order
        found = np.empty(self.shape, self.dtype) if out is None else out
        source = np.ascontiguousarray(self._host)
        to, size = ctypes.c_void_p(found.ctypes.data), ctypes.c_size_t(self.nbytes)
        _enter(self.device.id)
        copy = _driver.cuMemcpyDtoHAsync_v2
        handle = ctypes.c_void_p((stream or _stream()).ptr)
        _check(copy(to, ctypes.c_uint64(source.ctypes.data), size, handle))
        return found

    def __dlpack__(self, **_options):
        raise NotImplementedError("the stand-in hands nothing on by DLPack")


def _copied(values):
    source = np.ascontiguousarray(values)
    made = empty(np.shape(values), source.dtype)
    size = ctypes.c_size_t(source.nbytes)
    to, start = ctypes.c_uint64(made.data.ptr), ctypes.c_void_p(source.ctypes.data)
    _check(_driver.cuMemcpyHtoD_v2(to, start, size))
    return made


def empty(shape, dtype=np.float32):
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    memory = _Memory(size)
    block = (ctypes.c_ubyte * max(size, 1)).from_address(memory.ptr)
    host = np.frombuffer(block, np.uint8)[:size].view(kind).reshape(shape)
    return ndarray(host, memory)


def _wrapped(values):
    """An array in memory that something else keeps."""
    facts = values.__cuda_array_interface__
    shape, kind = tuple(facts["shape"]), np.dtype(facts["typestr"])
    size = math.prod(shape) * kind.itemsize
    block = (ctypes.c_ubyte * max(size, 1)).from_address(facts["data"][0])
    host = np.frombuffer(block, np.uint8)[:size].view(kind).reshape(shape)
    device = _driver.stand_in_device(ctypes.c_void_p(facts["data"][0]))
    return ndarray(host, types.SimpleNamespace(kept=values, device=_Device(device)))


def zeros(shape, dtype=np.float32):
    made = empty(shape, dtype)
    made._host[...] = 0
    return made


def asarray(values, dtype=None):
    if isinstance(values, ndarray) and dtype in (None, values.dtype):
        return values
    if hasattr(values, "__cuda_array_interface__"):
        return _wrapped(values)
    return _copied(np.asarray(getattr(values, "_host", values), dtype))


array = asarray


def ascontiguousarray(values):
    return values if values.flags.c_contiguous else _copied(values._host)


def asnumpy(values, **options):
    return values.get(**options) if isinstance(values, ndarray) else np.asarray(values)


cuda = types.SimpleNamespace(
    Device=_Device,
    Event=_Event,
    Stream=_Stream,
    alloc_pinned_memory=_pinned,
    get_current_stream=_stream,
    memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    runtime=types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=_runtime_count,
        getDeviceProperties=_properties,
    ),
)
__version__ = "stand-in"
