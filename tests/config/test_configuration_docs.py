"""The page of the configuration is what the models say."""

import re

from fluoro.config import Config, Section
from fluoro.registration.config import RegisterConfig
from tools.docs.make_configuration_docs import PAGE, make


def test_page_of_the_configuration_is_current():
    assert PAGE.read_text(encoding="utf-8") == make(), (
        "run `python -m tools.docs.make_configuration_docs`"
    )


def test_every_key_of_every_section_is_on_the_page():
    page = make()
    for section in Section.__subclasses__():
        ours = section.__module__.startswith("fluoro.")  # other tests have sections of their own
        if ours and section not in (Config, RegisterConfig):
            for key, field in section.model_fields.items():
                assert f"| `{field.alias or key}` |" in page, f"{section.__name__}.{key}"
    for name in Config.model_fields:
        assert f"\n## {name}" in page


def test_the_contents_lead_to_every_section():
    links = set(re.findall(r"\]\(#([\w-]+)\)", PAGE.read_text(encoding="utf-8")))
    for name in set(Config.model_fields) - {"pose_source"}:
        assert name in links
    assert {"pose_source-kind-sweep", "image_chainbrightness", "run-1", "uniform"} <= links
