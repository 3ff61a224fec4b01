"""The tools of tools/check that compare two revisions see what differs."""

import numpy as np
import pytest

from tools.check import phrases, same_images
from tools.check.dockerfile_steps import instructions, shell_lines
from tools.check.same_images import compare_images, difference, gone

IMAGE = np.zeros((2, 3, 3), np.float32)


def test_equal_images_are_the_same():
    assert difference({"frames": IMAGE}, {"frames": IMAGE.copy()}) == ""


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (-IMAGE, "frames: 0 of 18 values differ"),  # -0 equals 0, its bits are others
        (IMAGE.astype(np.float64), "frames: (2, 3, 3) float32 became (2, 3, 3) float64"),
        (IMAGE[:1], "frames: (2, 3, 3) float32 became (1, 3, 3) float32"),
    ],
)
def test_changed_images_are_reported(changed, what):
    assert difference({"frames": IMAGE}, {"frames": changed}) == what


def test_a_file_that_cannot_be_rendered_is_a_difference_and_the_others_are_compared(monkeypatch):
    def rendered(tree, path, frames):
        if path.name == "sweep.yaml":
            raise RuntimeError("fluoro: too little memory")
        return {"frames": IMAGE}

    monkeypatch.setattr(same_images, "arrays", rendered)
    found = dict(compare_images(same_images.ROOT, 1, ["sweep", "live"]))
    assert found == {"configs/live.yaml": "", "configs/sweep.yaml": "fluoro: too little memory"}


def test_a_missing_array_is_reported():
    assert difference({"frames": IMAGE}, {}) == "keys ['frames'] became []"


def test_names_may_go_only_with_a_line_in_the_map():
    assert gone({"a", "b"}, {"b"}, {}) == "1 are gone: a"
    assert gone({"a", "b"}, {"b", "c"}, {"a": "c"}) == ""
    assert gone({"a", "b"}, {"b"}, {"a": "c"}) == "1 are gone: a"
    assert gone({"a[1]"}, {"c[1]"}, {"a": "c"}) == ""
    assert gone({"a[1]"}, {"c[2]"}, {"a": "c"}) == "1 are gone: a[1]"


def test_a_phrase_is_found_in_texts_and_names_of_tests_but_not_in_code(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        'sour = f"{sour} frames"\n'
        "# bitter\n"
        "def test_sour_things():\n"
        '    """Very\n    sweet, not sweet alone."""\n'
    )
    rules = phrases.rules("# a comment\n\\bsour\\b -> acid\nbitter -> dark\nvery sweet -> honey\n")
    found = sorted(phrases.hits(list(phrases.texts(path)), rules))
    assert found == [(2, "bitter", "dark"), (3, "sour", "acid"), (4, "Very sweet", "honey")]


def test_every_phrase_of_the_list_has_a_better_wording():
    rules = phrases.rules(phrases.LIST.read_text())
    assert len(rules) > 20
    assert all(better.strip() for _, better in rules)


def test_instructions_of_a_dockerfile_are_joined_and_in_order():
    text = '# a comment\nFROM x\nRUN one \\\n    && two\nCMD ["python3", "a b"]\n'
    found = list(instructions(text))
    assert found == [("FROM", "x"), ("RUN", "one  && two"), ("CMD", '["python3", "a b"]')]
    assert shell_lines(*found[2], "/context", {}) == "exec python3 'a b'"


def test_unknown_instruction_is_refused():
    with pytest.raises(ValueError, match="unknown instruction VOLUME"):
        shell_lines("VOLUME", "/x", "/context", {})
