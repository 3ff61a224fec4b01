"""What is public: named in `__all__`, documented with shapes and errors, in fluorosim's order."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import fluoro
import fluoro.fluorosim.ct
import fluoro.fluorosim.rendering

ROOT = Path(__file__).parents[2]
ROOMS = sorted(each.parent.name for each in (ROOT / "fluoro").glob("*/__init__.py"))
MODULES = sorted((ROOT / "fluoro").rglob("*.py"))
FEW_LINE_API = [
    *(ROOT / "fluoro" / "fluorosim").rglob("*.py"),
    *(ROOT / "fluoro" / "torch").glob("*.py"),
]
HAS_TORCH = find_spec("torch") is not None
MADE_BY = ("__init__", "__post_init__")
"""Methods whose errors the class's docstring tells."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def needs_torch(name: str) -> bool:
    words = ("torch", "Torch", "SlangDiffDRRFunction", "optimizer")
    return any(word in name for word in words)


def public_functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef, str]]:
    """Name, tree and docstring of each function and method that others may call."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.FunctionDef):
            yield node.name, node, ast.get_docstring(node) or ""
            continue
        for method in node.body:
            if not isinstance(method, ast.FunctionDef):
                continue
            makes = method.name in MADE_BY
            if makes or not method.name.startswith("_"):
                documented = node if makes else method
                text = ast.get_docstring(documented) or ""
                yield f"{node.name}.{method.name}", method, text


def raises(function: ast.FunctionDef) -> bool:
    """Whether it raises by itself, in its own body."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise):
            return True
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return False


def checked_by_pydantic(function: ast.FunctionDef) -> bool:
    """Whether it is a model's validator, whose errors the configuration words."""
    return any("validator" in ast.unparse(mark) for mark in function.decorator_list)


def takes_or_gives_arrays(function: ast.FunctionDef) -> bool:
    parts = [*function.args.args, *function.args.kwonlyargs]
    kinds = [part.annotation for part in parts] + [function.returns]
    written = " ".join(ast.unparse(kind) for kind in kinds if kind is not None)
    return re.search(r"NDArray|ArrayLike|Tensor", written) is not None


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_lists_its_public_names_and_has_them(room):
    package = importlib.import_module(f"fluoro.{room}")
    names = [name for name in package.__all__ if name != "__version__"]
    assert names
    assert set(names) <= set(dir(package))
    if room != "torch":  # needs PyTorch
        for name in names:
            assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        package.no_such_name  # noqa: B018


def test_a_room_imports_nothing_heavy_before_a_name_is_used():
    rooms = ", ".join(f"fluoro.{room}" for room in ROOMS)
    code = f"import sys, {rooms}; print(sorted({{'numpy', 'slangpy', 'torch'}} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_each_module_lists_its_public_names_and_has_them():
    for path in MODULES:
        if needs_torch(str(path.relative_to(ROOT))) and not HAS_TORCH:
            continue
        module = importlib.import_module(module_name(path))
        names = getattr(module, "__all__", None)
        assert names is not None or not list(public_functions(path)), f"{path} has no __all__"
        for name in names or ():
            assert hasattr(module, name), f"{module.__name__}.{name}"


def test_type_checkers_do_not_see_what_finds_names_when_asked():
    """They would take any name for one that is there, a mistyped one too."""
    packages = [path for path in MODULES if path.name == "__init__.py"]
    assert any("\n    __getattr__, __dir__ = lazy_names(" in p.read_text("utf-8") for p in packages)
    for path in MODULES:
        for node in ast.parse(path.read_text("utf-8")).body:
            defined = ast.unparse(node).startswith(("__getattr__", "def __getattr__"))
            assert not defined, f"{path}: __getattr__ must stand under `if not TYPE_CHECKING`"


def test_what_raises_says_so():
    silent = [
        f"{module_name(path)}.{name}"
        for path in MODULES
        for name, function, text in public_functions(path)
        if raises(function) and "Raises:" not in text and not checked_by_pydantic(function)
    ]
    assert silent == []


def test_arrays_of_the_few_line_api_have_stated_shapes():
    silent = [
        f"{module_name(path)}.{name}"
        for path in FEW_LINE_API
        for name, function, text in public_functions(path)
        if takes_or_gives_arrays(function) and "shape" not in text.lower()
    ]
    assert silent == []


SIGNATURES = {
    "VolumePreprocessor": (
        "hu_volume, spacing_zyx_mm, origin_xyz_mm=None, source=None, settings=None"
    ),
    "VolumePreprocessor.from_dicom": "dicom_dir, settings=None",
    "VolumePreprocessor.from_nifti": "nifti_path, settings=None",
    "VolumePreprocessor.from_numpy": ("hu_volume, spacing_zyx_mm=(1.0, 1.0, 1.0), settings=None"),
    "VolumePreprocessor.preprocess": "self, output_dir=None",
    "PreprocessedVolume": "mu_volume, metadata",
    "PreprocessedVolume.save": "self, output_dir",
    "PreprocessedVolume.load": "input_dir",
    "VolumeMetadata": (
        "shape_zyx, spacing_zyx_mm, origin_xyz_mm=None, hu_range=None, mu_range=None, source=None, "
        "calibration=None"
    ),
    "FluoroSimulator": "volume, config=None",
    "FluoroSimulator.render_frame": (
        "self, rotation=(0.0, 0.0, 0.0), translation=(0.0, 0.0, 0.0), pose=None"
    ),
    "FluoroSimulator.render_cine": "self, poses, fps=30.0, progress=True",
    "FluoroSimulator.stream": "self, pose_generator, max_frames=None",
    "FluoroSimulator.get_metrics": "self",
    "Pose": "rotation=(0.0, 0.0, 0.0), translation=(0.0, 0.0, 0.0)",
    "Frame": "image, pose, frame_idx=0, timestamp_ms=0.0",
    "Frame.save": "self, path",
    "CineSequence": "frames, fps=30.0",
    "CineSequence.save_all": "self, output_dir, format='png'",
    "CineSequence.to_numpy": "self",
    "CarmGeometry": (
        "source_to_detector_mm=1020.0, source_to_isocenter_mm=510.0, detector_width_px=512, "
        "detector_height_px=512, pixel_spacing_mm=0.5"
    ),
    "XrayPhysics": "step_mm=0.5, i0=1.0, normalize=True, invert=True",
    "HuToMuCalibration": (
        "reference_energy_kev=60.0, hu_bone_anchor=1500.0, mu_water_override_mm_inv=None, "
        "mu_bone_override_mm_inv=None"
    ),
    "HuToMuMapping": "hu_min=-1000.0, hu_max=3000.0, mu_min=0.0, mu_max=0.02",
    "RealismSettings": (
        "enabled=False, gain=1.0, bias=0.0, poisson_photons=0.0, gaussian_sigma=0.0, "
        "blur_sigma_px=0.0, seed=0"
    ),
    "OutputSettings": "save_to_disk=False, output_dir=None, format='png', keep_in_gpu=False",
    "MetricsSettings": "enabled=False, track_fps=True, track_gpu_usage=True, track_jitter=True",
    "rendering.SlangDiffDRRConfig": (
        "det_height_px=512, det_width_px=512, pixel_spacing_mm=0.5, source_to_detector_mm=1020.0, "
        "source_to_isocenter_mm=510.0, step_mm=0.5, i0=1.0, normalize=True, invert=True, eps=1e-08"
    ),
    "rendering.SlangDiffDRRRenderer": "mu_volume, spacing_zyx_mm, cfg",
    "rendering.SlangDiffDRRRenderer.render": (
        "self, rotation=(0.0, 0.0, 0.0), translation=(0.0, 0.0, 0.0)"
    ),
    "rendering.SlangDiffDRRRenderer.render_with_gradients": (
        "self, rotation, translation, grad_output=None"
    ),
    "rendering.render_diffdrr_slang": (
        "mu_volume, spacing_zyx_mm, rotation=(0.0, 0.0, 0.0), translation=(0.0, 0.0, 0.0), cfg"
    ),
    "rendering.TorchSlangDiffDRR": "mu_volume, spacing_zyx_mm, cfg",
    "rendering.TorchSlangDiffDRR.forward": "self, rotation, translation",
    "rendering.create_slang_diffdrr_optimizer": (
        "mu_volume, spacing_zyx_mm, initial_rotation, initial_translation, cfg, lr=0.01"
    ),
    "rendering.RealismConfig": (
        "gain=1.0, bias=0.0, poisson_photons=0.0, gaussian_sigma=0.0, blur_sigma_px=0.0, "
        "normalize_output=True, seed=0"
    ),
    "rendering.apply_realism": "img, cfg",
    "ct.load_dicom_series_hu": "dicom_dir",
    "ct.load_nifti_hu": "nifti_path",
}
"""What fluorosim's scripts may give by position, and its defaults; fluoro may have more."""


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_have_fluorosims_order_and_defaults(name):
    if needs_torch(name):
        pytest.importorskip("torch")
    found = fluoro.fluorosim
    for part in name.split("."):
        found = getattr(found, part)
    assert ", ".join(by_position(found)).startswith(SIGNATURES[name])


def by_position(function) -> list[str]:
    """Arguments that may be given by position; a default that is a settings object is left out."""
    found = []
    for argument in inspect.signature(function).parameters.values():
        if argument.kind is argument.POSITIONAL_OR_KEYWORD:
            plain = type(argument.default) in (int, float, bool, str, tuple, type(None))
            default = f"={argument.default!r}" if plain else ""
            found.append(argument.name + default)
    return found
