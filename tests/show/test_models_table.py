"""The table of models: what its cells say, and what they sort and filter by."""

import re

import pytest

from gpt4lib.facts.configs import shipped_model
from gpt4lib.facts.models import model_of
from gpt4lib.show.models import Models, cache_if_full, kind_of, layers_in_words
from gpt4lib.spine.errors import BadInput

SHIPPED = {  # of the publishers' cards: what most layers keep, and how many keep what
    "google/gemma-3-12b-it": ("windows", "40 with a window of 1,024, 8 full"),
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": ("chunks", "36 with chunks of 8,192, 12 full"),
    "Qwen/Qwen3-Next-80B-A3B-Thinking": ("states", "36 with a state (delta), 12 full"),
    "deepseek-ai/DeepSeek-V3": ("latent", "61 full, latent"),
    "Qwen/Qwen3-8B": ("all full", "36 full"),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_what_the_layers_keep_in_words(name):
    shape = shipped_model(name).model
    assert (kind_of(shape), layers_in_words(shape)) == SHIPPED[name]


def test_a_cache_if_every_layer_kept_all():
    """By hand: 48 layers of 2 heads of 256, keys and values, 2 bytes, for 1,000 tokens."""
    shape = shipped_model("Qwen3-Next-80B-A3B-Thinking").model
    assert cache_if_full(shape, 1000) == 48 * 2 * 2 * 256 * 2 * 1000
    keys = {"n_state_heads": 8, "d_state_head": 1, "d_state": 2, "conv_width": 2, "dt_rank": 1}
    base = {"name": "no attention", "layers": 2, "d_model": 8, "n_heads": 1, "n_kv_heads": 1, "d_head": 8}
    base |= {"d_ff": 8, "mlp_matrices": 2, "vocab": 8, "tied_embeddings": True, "positions": "none"}
    with pytest.raises(BadInput, match="shape takes a layer that attends, got no attention"):
        cache_if_full(model_of(base | keys | {"layer_kinds": ["mamba"]}), 10)


def test_cells_sort_by_number_and_filter_by_kind():
    page = Models([shipped_model(name).model for name in SHIPPED])._repr_html_()
    assert [*map(float, re.findall(r'"total" data-sort="([^"]*)"', page))][-1] == pytest.approx(
        8.19e9, rel=1e-3
    )
    assert re.findall(r'data-filter="([^"]*)"', page) == [kind for kind, _ in SHIPPED.values()]
    assert re.findall(r'<tr id="([^"]*)"', page) == [*SHIPPED]
    assert 'data-sort="6.82636e+11">683 B<' in page
