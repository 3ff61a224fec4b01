"""Camera poses as frusta: the page stands alone, and says where each source is."""

import json
import re

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.plot.frusta import frusta_page, write_frusta
from fluoro.volume.grid import VolumeGrid

GRID = VolumeGrid(shape_zyx=(10, 20, 30), spacing_xyz_mm=(1.0, 2.0, 3.0))


def scene_of(page):
    return json.loads(re.search(r"const scene = (.*);", page)[1])


def test_page_has_each_view_the_volumes_box_and_the_landmarks():
    view = CarmGeometry().view(CarmPose(lao_deg=30), GRID.center_xyz_mm)
    scene = scene_of(frusta_page({"LAO 30": view}, grid=GRID, points_xyz_mm=[[1, 2, 3]]))
    (frustum,) = scene["frusta"]
    np.testing.assert_allclose(frustum["source"], view.source_xyz_mm, atol=0.01)
    np.testing.assert_allclose(frustum["corners"][0], view.corner_xyz_mm, atol=0.01)
    assert np.shape(frustum["corners"]) == (4, 3)
    lengths = [np.ptp(edge, axis=0).max() for edge in scene["box"]]
    assert sorted(lengths) == [30] * 8 + [40] * 4
    assert scene["points"] == [[1, 2, 3]]


def test_names_cannot_break_the_page(tmp_path):
    view = CarmGeometry().view(CarmPose(), (0, 0, 0))
    path = tmp_path / "poses.html"
    write_frusta(path, {"</script><b>": view}, title="<poses>")
    page = path.read_text()
    assert page.count("</script>") == 1
    assert "<title>&lt;poses&gt;</title>" in page
    assert "http" not in page.replace("http-equiv", "")
    with pytest.raises(InputError, match="at least one view"):
        frusta_page({})


@pytest.mark.browser
def test_page_draws_in_a_browser(browser, tmp_path):
    path = tmp_path / "poses.html"
    views = {f"LAO {a}": CarmGeometry().view(CarmPose(lao_deg=a), (0, 0, 0)) for a in (0, 40, 80)}
    write_frusta(path, views, grid=GRID)
    page = browser.new_page(viewport={"width": 800, "height": 600})
    page.goto(path.as_uri())
    drawn = "() => new Set(new Uint32Array(document.querySelector('canvas').getContext('2d')" \
            ".getImageData(0, 0, 800, 600).data.buffer)).size"  # fmt: skip
    assert page.evaluate(drawn) > 10
