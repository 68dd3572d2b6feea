"""How the built site shows a chart: a picture that the page's script replaces by the live chart."""

import hashlib
import json

import vl_convert
from docutils import nodes

MIME = "application/vnd.vegalite.v5+json"  # the newest that JupyterLab shows


class ChartRenderer:
    """MyST-NB renderer of Vega-Lite outputs (entry point `myst_nb.mime_renderers`)."""

    mime_priority_overrides = (("html", MIME, 1),)

    @staticmethod
    def handle_mime(renderer, data, inline):
        """The picture (alt text from the cell, else the chart's description) and its specification."""
        if data.mime_type != MIME or inline:
            return None
        options = renderer.renderer.get_cell_level_config(
            "render_image_options", data.cell_metadata, line=data.line
        )
        alt = options.get("alt") or data.content.get("description", "")
        picture = vl_convert.vegalite_to_svg(data.content)
        name = f"chart-{hashlib.sha256(picture.encode()).hexdigest()[:16]}.svg"
        uri = renderer.write_file([name], picture.encode(), overwrite=True)
        spec = json.dumps(data.content).replace("</", r"<\/")
        return [
            nodes.raw("", '<div class="gpt4-chart">', format="html"),
            nodes.image(uri=uri, alt=alt),
            nodes.raw("", f'<script type="application/json">{spec}</script></div>', format="html"),
        ]
