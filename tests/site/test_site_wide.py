"""Every page of the built site on a wide screen; the colours of both themes too, which no width changes."""

from site_pages import *  # noqa: F403 (the checks)

WIDTH = 1280


def test_accessible(visit):
    assert violations(visit.page, "light") == {}  # noqa: F405


def test_dark_colours_stand_out(visit):
    assert violations(visit.page, "dark", "runOnly: ['color-contrast', 'link-in-text-block'],") == {}  # noqa: F405
