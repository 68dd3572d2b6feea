"""Every page of the built site on a wide screen."""

from site_pages import *  # noqa: F403 (the checks)

WIDTH = 1280
