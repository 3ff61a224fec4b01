"""The chain with a spectrum: closed forms over the whole spectrum, quadrature, noise, reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fluoro.config import ImageChainConfig, WindowConfig, XrayConfig, load_config
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.configured_beam import Beams, open_field_of, response_of, spectrum_of
from fluoro.imaging.reference import ReferenceChain
from fluoro.imaging.stages.beer_lambert import polychromatic
from fluoro.physics.materials import material
from fluoro.physics.quadrature import fit_quadrature, thicknesses
from fluoro.physics.spectrum import Spectrum, tube_spectrum
from fluoro.physics.tissues import TISSUE_MAPS
from fluoro.rendering.devices.cpu.device import CpuDevice

ROOT = Path(__file__).parents[2]
TISSUES = [material(name) for name in TISSUE_MAPS["tissues"]]
SOFT, BONE = 3, 4
PITCH_MM = 0.5
GEOMETRY = CarmGeometry(
    source_to_detector_mm=1000.0,
    source_to_isocenter_mm=700.0,
    detector_width_px=50,
    detector_height_px=33,
    pixel_spacing_mm=PITCH_MM,
)
SIGNAL = {"poisson": False, "log": False, "window": WindowConfig(level=0.5, width=1.0)}
"""The signal relative to the open field as display values."""


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


def config(xray, **changes):
    return ImageChainConfig.model_validate({**SIGNAL, "xray": xray, **changes})


def slabs(shape=(33, 50), **mm):
    """Thicknesses of tissues, each even or an array that broadcasts."""
    planes = np.zeros((len(TISSUES), *shape), np.float32)
    for name, thickness in mm.items():
        planes[TISSUE_MAPS["tissues"].index(name)] = thickness
    return planes


def wedge(shape=(33, 50)):
    """Soft tissue from 0 to 300 mm along columns, bone from 0 to 50 mm along rows."""
    soft, bone = np.linspace(0, 300, shape[1]), np.linspace(0, 50, shape[0])
    return slabs(shape, soft_tissue=soft[None], cortical_bone=bone[:, None])


def exact(planes, xray, materials=TISSUES):
    """Signal relative to the open field, by every bin of the spectrum."""
    spectrum, response = spectrum_of(xray), response_of(xray.detector)
    kev = spectrum.energies_kev
    signal = spectrum.photons_per_mm2 * response.absorbed(kev) * response.per_photon(kev)
    mu = np.stack([each.mu_per_mm(kev) for each in materials], 1)
    return np.exp(-np.tensordot(mu, planes.astype(float), 1)).T @ signal / signal.sum()


def transmitted(device, planes, xray, materials=TISSUES):
    """Signal relative to the open field, by the chain; bone_dark shows a large signal bright."""
    chain = ImageChain(device, 0, materials)
    image = chain.apply(planes, config(xray), 0, PITCH_MM, GEOMETRY)
    return image.astype(float)


# -- transmission ------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [4, 5, 8])
def test_materials_that_few_pixels_have_count_there_and_nowhere_else(device, first):
    """Of nine materials the last half is left out of packets of pixels that have none of it."""
    names = ("steel", "platinum", "titanium", "ptfe")
    planes = np.concatenate([wedge(), np.zeros((len(names), 33, 50), np.float32)])
    planes[first, 7, 21] = planes[8, 20, 40:] = 0.4
    materials = [*TISSUES, *(material(name) for name in names)]
    without = planes.copy()
    without[4 if first == 4 else 5 :, 7, 21] = without[8, 20, 40:] = 0.0
    image, bare = (transmitted(device, each, {}, materials) for each in (planes, without))
    reference = ReferenceChain(config({}), 0, PITCH_MM, GEOMETRY, materials)
    np.testing.assert_allclose(image, reference.apply(planes, 0), rtol=3e-7)
    assert np.count_nonzero(image != bare) == 11


@pytest.mark.parametrize("kv", [60, 80, 120])
def test_wedge_is_the_whole_spectrums_within_a_thousandth(device, kv):
    xray = XrayConfig(tube_voltage_kv=kv)
    beam = Beams(TISSUES).beam(xray)
    expected = exact(wedge(), xray).T
    found = polychromatic(wedge(), beam, 1.0)[0]
    assert np.abs(found / expected - 1).max() < 2e-4
    through = transmitted(device, wedge(), xray)
    np.testing.assert_allclose(through, expected, rtol=2e-4, atol=1e-6)
    assert through[0, 0] == pytest.approx(1, abs=1e-6)


def test_slabs_of_every_tissue_are_the_whole_spectrums(device):
    xray = XrayConfig(tube_voltage_kv=80)
    for name, thickness in (("air", 800), ("lung", 250), ("fat", 150), ("soft_tissue", 200)):
        planes = slabs(**{name: thickness, "cortical_bone": 10})
        found = transmitted(device, planes, xray)[0, 0]
        assert found == pytest.approx(exact(planes, xray).T[0, 0], rel=1e-3), name


def test_half_value_layer_by_filters_in_the_beam():
    """Aluminium as a material in the beam: the thickness that halves the kerma."""
    aluminium = [*TISSUES, material("aluminium")]
    xray = XrayConfig(tube_voltage_kv=80)
    expected_mm, _ = tube_spectrum(80, 3.0).half_value_layers_mm()
    thickness = np.linspace(2.9, 3.1, 50)
    beam = Beams(aluminium).beam(xray)
    # an ideal dosemeter instead of the detector: kerma by energy, through the quadrature's nodes
    spectrum, response = spectrum_of(xray), response_of(xray.detector)

    def kerma(kev, photons):
        return Spectrum(energies_kev=kev, photons_per_mm2=photons).kerma_ugy

    nodes = beam.quadrature.energies_kev
    photons = beam.quadrature.weights / response.absorbed(nodes) / response.per_photon(nodes)
    left = [
        kerma(nodes, photons * np.exp(-material("aluminium").mu_per_mm(nodes) * t))
        for t in thickness
    ]
    found_mm = np.interp(-0.5, -np.array(left) / kerma(nodes, photons), thickness)
    assert found_mm == pytest.approx(expected_mm, rel=0.01)
    assert spectrum.half_value_layers_mm()[0] == pytest.approx(expected_mm)


# -- quadrature --------------------------------------------------------------------------------


def signal_of(kv):
    spectrum, response = tube_spectrum(kv, 3.0), response_of(XrayConfig().detector)
    kev = spectrum.energies_kev
    return kev, spectrum.photons_per_mm2 * response.absorbed(kev) * response.per_photon(kev)


@pytest.mark.parametrize(("count", "gate"), [(4, 1e-3), (5, 1.5e-4)])
@pytest.mark.parametrize("kv", [40, 80, 150])
def test_few_energies_stand_for_tissues(kv, count, gate):
    kev, signal = signal_of(kv)
    at_mm = thicknesses(list(TISSUE_MAPS["tissues"]), TISSUES)
    found = fit_quadrature(kev, signal, TISSUES, at_mm, count)
    assert len(found.energies_kev) == count
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)
    assert found.worst_error < gate
    assert found.worst_error == pytest.approx(
        independent_error(kev, signal, found, at_mm), rel=0.05
    )


def independent_error(kev, signal, found, at_mm, materials=TISSUES):
    def transmission(energies, weights):
        mu = np.stack([each.mu_per_mm(energies) for each in materials])
        return np.exp(-at_mm @ mu) @ weights

    whole = transmission(kev, signal / signal.sum())
    return np.abs(transmission(found.energies_kev, found.weights) / whole - 1).max()


@pytest.mark.parametrize("kv", [40, 80])
@pytest.mark.parametrize(
    ("name", "gate"), [("steel", 4e-4), ("iodine", 2e-4), ("barium_sulfate", 3e-4)]
)
def test_eight_energies_stand_for_metal_and_contrast(name, gate, kv):
    materials = [material(each) for each in ("soft_tissue", "cortical_bone", name)]
    kev, signal = signal_of(kv)
    at_mm = thicknesses([each.name for each in materials], materials)
    found = fit_quadrature(kev, signal, materials, at_mm, 8)
    assert found.worst_error < gate
    assert independent_error(kev, signal, found, at_mm, materials) < 2 * gate


def test_many_inclusions_of_one_material_have_the_energies_of_one():
    """Each once more would multiply the thicknesses that are fitted by five."""
    titanium, xray = material("titanium"), XrayConfig(tube_voltage_kv=80)
    one, many = (Beams([*TISSUES, *[titanium] * count]).beam(xray) for count in (1, 20))
    np.testing.assert_array_equal(one.quadrature.energies_kev, many.quadrature.energies_kev)
    assert many.mu_per_mm.shape[1] == len(TISSUES) + 20


def test_a_spectrum_of_fewer_lines_than_requested_is_taken_as_it_is():
    kev, signal = np.array([30.0, 60.0]), np.array([1.0, 3.0])
    found = fit_quadrature(kev, signal, TISSUES, np.zeros((1, 5)), 5)
    np.testing.assert_array_equal(found.energies_kev, kev)
    np.testing.assert_allclose(found.weights, [0.25, 0.75])


# -- photons and noise -------------------------------------------------------------------------


def test_dose_sets_the_kerma_behind_the_patient():
    xray = XrayConfig(tube_voltage_kv=80)
    beam = Beams(TISSUES).beam(xray)
    spectrum, response = spectrum_of(xray), response_of(xray.detector)
    behind = spectrum.filtered("water", 200.0)
    kev = spectrum.energies_kev
    per_ngy = spectrum.photons_per_mm2 / (behind.kerma_ugy * 1000) * response.absorbed(kev)
    quanta = (per_ngy @ response.per_photon(kev)) ** 2 / (per_ngy @ response.mean_square(kev))
    found = open_field_of(xray, beam, 20.0, PITCH_MM, None)
    assert found == pytest.approx(20 * quanta * PITCH_MM**2, rel=1e-9)


def test_energy_weighing_costs_what_the_source_says():
    """Noise factor of energy integration, 0.963 behind 20 cm of soft tissue; no light spread."""
    spectrum = tube_spectrum(80, 3.0).filtered("soft_tissue", 200.0)
    response = response_of(XrayConfig().detector)
    kev = spectrum.energies_kev
    absorbed = spectrum.photons_per_mm2 * response.absorbed(kev)
    factor = (absorbed @ kev) ** 2 / (absorbed @ kev**2) / absorbed.sum()
    assert factor == pytest.approx(0.963, abs=0.005)


def test_charge_sets_the_photons_by_the_inverse_square():
    xray = XrayConfig(tube_current_ma=10.0, pulse_width_ms=8.0)
    beam = Beams(TISSUES).beam(xray)
    near = open_field_of(xray, beam, 20.0, PITCH_MM, GEOMETRY)
    away = CarmGeometry(source_to_detector_mm=1400.0, pixel_spacing_mm=PITCH_MM)
    far = open_field_of(xray, beam, 20.0, PITCH_MM, away)
    assert near == pytest.approx(beam.quanta_per_mm2 * 0.08 * PITCH_MM**2)
    assert near / far == pytest.approx(1.96)
    with pytest.raises(InputError, match=r"geometry must be given with image_chain\.xray\.tube"):
        open_field_of(xray, beam, 20.0, PITCH_MM, None)


@pytest.mark.parametrize("kind", ["energy_integrating", "photon_counting"])
@pytest.mark.parametrize("soft_mm", [0.0, 200.0])
def test_variance_is_that_of_the_compound_poisson(device, kind, soft_mm):
    """By every bin: mean sum n d, variance sum n d^2 / Swank, n photons of energy E worth d(E)."""
    xray = XrayConfig(detector={"kind": kind, "swank_factor": 0.7})
    shape, dose = (200, 320), 4.0
    planes = slabs(shape, soft_tissue=soft_mm)
    chain = ImageChain(device, 3, TISSUES)
    wide = WindowConfig(level=1.0, width=2.0)
    given = config(xray, poisson=True, dose_ngy=dose, window=wide)
    found = 2 * chain.apply(planes, given, 0, PITCH_MM).astype(float)
    spectrum, response = spectrum_of(xray), response_of(xray.detector)
    kev = spectrum.energies_kev
    per_ngy = spectrum.photons_per_mm2 / (spectrum.filtered("water", 200.0).kerma_ugy * 1000)
    photons = dose * PITCH_MM**2 * per_ngy * response.absorbed(kev)
    opened = photons @ response.per_photon(kev)
    left = photons * np.exp(-material("soft_tissue").mu_per_mm(kev) * soft_mm)
    mean = left @ response.per_photon(kev) / opened
    variance = left @ response.mean_square(kev) / opened**2
    count = shape[0] * shape[1]
    assert found.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / count) + 2e-4 * mean)
    assert found.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / count) + 0.002)


# -- reference and devices ------------------------------------------------------------------------

STAGES = {
    "plain": {},
    "noise": {"poisson": True},
    "scatter": {"scatter": {"grid_factor": 0.3}},
    "all": {
        "poisson": True,
        "log": True,
        "scatter": {},
        "heel_anode_side": "left",
        "blur_sigma_mm": 0.6,
        "electronic_noise_photons": 2.0,
        "window": WindowConfig(level=3.0, width=8.0),
    },
}


@pytest.mark.parametrize("kind", ["energy_integrating", "photon_counting"])
@pytest.mark.parametrize("name", list(STAGES))
def test_chain_agrees_with_its_reference(device, name, kind):
    given = config(XrayConfig(detector={"kind": kind}), **STAGES[name])
    chain = ImageChain(device, 99, TISSUES)
    oracle = ReferenceChain(given, 99, PITCH_MM, GEOMETRY, TISSUES)
    for number in range(2):
        found = chain.apply(wedge(), given, number, PITCH_MM, GEOMETRY)
        expected = oracle.apply(wedge(), number)
        assert np.mean(np.abs(found - expected) > 5e-6) <= 3e-4


def test_devices_agree(device, other):
    given = config(XrayConfig(), **STAGES["all"])
    here = ImageChain(device, 5, TISSUES).apply(wedge(), given, 3, PITCH_MM, GEOMETRY)
    chain = ImageChain(other, 5, TISSUES)
    there = other.to_host(chain.apply(other.to_device(wedge()), given, 3, PITCH_MM, GEOMETRY))
    assert np.mean(np.abs(here - there) > 1e-5) <= 1e-3


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("image_chain.xray.tube_voltage_kv=30", "tube_voltage_kv: must be at least 40, got 30"),
        ("image_chain.xray.tube_voltage_kv=80.5", "tube_voltage_kv: must be a whole number"),
        ("image_chain.xray.aluminium_mm=200", "aluminium_mm: must be at most 100, got 200"),
        ("image_chain.xray.copper_mm=9", "copper_mm: must be at most 5, got 9"),
        ("image_chain.dose_ngy=-3", "dose_ngy: must be greater than 0, got -3"),
        ("image_chain.xray.pulse_width_ms=8", "tube_current_ma: must be given beside"),
        ("image_chain.xray.spectrum=90KV", "'60KV_AL35', '90KV_AL40' or '120KV_AL43'"),
        ("image_chain.xray.spectrum=90KV_AL40", "copper_mm: has no effect beside spectrum"),
        ("volume.materials.kind=bones", "'tissues', 'soft_and_bone' or 'schneider'"),
        ("renderer={projector: siddon}", "renderer.projector: siddon has no materials"),
        ("image_chain.xray=null", "volume.materials: has no effect without image_chain.xray"),
        (
            "volume.hu_to_mu={kind: linear, hu_min: -500}",
            "volume.hu_to_mu: must be physical, or linear from hu_min -1000",
        ),
    ],
)
def test_errors_are_one_line_with_the_key(override, line):
    with pytest.raises(InputError) as caught:
        load_config(ROOT / "configs" / "polychromatic.yaml", [override])
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_dose_has_no_effect_beside_a_tube_current():
    with pytest.raises(InputError, match=r"dose_ngy: has no effect beside xray\.tube_current_ma"):
        load_config(
            ROOT / "configs" / "polychromatic.yaml",
            ["image_chain.xray.tube_current_ma=10", "image_chain.xray.pulse_width_ms=8"],
        )


def test_a_spectrum_of_ones_own_is_read_beside_the_yaml_file(tmp_path):
    (tmp_path / "beam.csv").write_text("energy_kev,photons\n40,1\n60,2\n")
    (tmp_path / "run.yaml").write_text(
        "volume: {phantom: thorax}\npose_source: {kind: static}\n"
        "image_chain: {xray: {spectrum_csv: beam.csv}}\n"
    )
    xray = load_config(tmp_path / "run.yaml").image_chain.xray
    np.testing.assert_array_equal(spectrum_of(xray).photons_per_mm2, [1, 2])
    nothing = xray.model_copy(update={"spectrum_csv": tmp_path / "none.csv"})
    with pytest.raises(InputError, match=r"none\.csv: cannot be read as a spectrum"):
        Beams(TISSUES).beam(nothing)


def test_images_of_another_kind_are_refused(device):
    with pytest.raises(InputError, match="5 materials' thicknesses, got shape"):
        ImageChain(device, 0, TISSUES).apply(wedge()[:3], config(XrayConfig()), 0, PITCH_MM)
    with pytest.raises(InputError, match="line integrals, got shape"):
        ImageChain(device, 0, TISSUES).apply(
            wedge(), ImageChainConfig.model_validate(SIGNAL), 0, PITCH_MM
        )
    with pytest.raises(InputError, match=r"image_chain\.xray needs the thicknesses of materials"):
        ImageChain(device, 0).apply(wedge(), config(XrayConfig()), 0, PITCH_MM)
