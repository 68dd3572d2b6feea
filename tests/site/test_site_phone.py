"""Every page of the built site on a phone."""

from site_pages import *  # noqa: F403 (the checks)

WIDTH = 390


def test_accessible(visit):
    assert violations(visit.page, "light", "rules: {'color-contrast': {enabled: false}},") == {}  # noqa: F405
