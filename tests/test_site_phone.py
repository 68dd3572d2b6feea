"""Every page of the built site on a phone."""

from site_pages import *  # noqa: F403 (the checks)

WIDTH = 390
