"""Vision: patches against slicing, the gates against the text model alone, parameters counted by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib.mini.meter import Meter
from gpt4lib.mini.model import Transformer, tiny_shape
from gpt4lib.mini.vision import Vision, patches
from gpt4lib.spine.errors import BadInput

MODEL = Transformer(tiny_shape(layers=3), seed=0)
TOKENS = np.array([[5, 7, 1, 9], [4, 2, 0, 3], [8, 8, 6, 1]])


def image_of(height=42, width=28, seed=0):
    return np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)


def open_gates(vision, value=0.5):
    for block in vision.blocks.values():
        block["gates"][:] = value
    return vision


def run(vision=None, images=(None, None, None), tokens=TOKENS, rows=None):
    hook = vision and vision.hook(list(images))
    return MODEL.forward(tokens, MODEL.cache(3, 8), rows=rows, after_layer=hook)


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_patches_are_slices_of_the_image(down, across, seed):
    image = image_of(14 * down, 14 * across, seed)
    found = patches(image)
    assert found.shape == (down * across, 14 * 14 * 3)
    for i in range(down):
        for j in range(across):
            tile = image[14 * i : 14 * (i + 1), 14 * j : 14 * (j + 1)]
            assert found[i * across + j].tobytes() == np.ascontiguousarray(tile).tobytes()


def test_bytes_of_a_visual_token():
    image = image_of(56, 70)
    tokens = patches(image)
    assert image.nbytes / len(tokens) == tokens[0].nbytes == 588
    assert len(Vision(MODEL.shape).encode(image)) == len(tokens) == 20


@pytest.mark.parametrize(
    "shape, dtype, message",
    [
        ((13, 28, 3), np.uint8, "at least one patch, 14 pixels, got 13 by 28"),
        ((28, 30, 3), np.uint8, "multiples of 14 pixels, got 28 by 30"),
        ((0, 14, 3), np.uint8, "at least one patch, 14 pixels, got 0 by 14"),
        ((14, 14), np.uint8, r"got uint8 of shape \(14, 14\)"),
        ((14, 14, 4), np.uint8, r"got uint8 of shape \(14, 14, 4\)"),
        ((14, 14, 3), np.float64, "takes bytes .* got float64"),
    ],
)
def test_images_that_are_refused(shape, dtype, message):
    with pytest.raises(BadInput, match=message):
        patches(np.zeros(shape, dtype))


def test_other_bad_input():
    with pytest.raises(BadInput, match=r"after takes layers from 0 to 2, got \(1, 3\)"):
        Vision(MODEL.shape, after=(1, 3))
    with pytest.raises(BadInput, match="at most 4 patches, got 6"):
        Vision(MODEL.shape, max_patches=4).encode(image_of(42, 28))


@pytest.mark.parametrize("after", [(0,), (2,), (0, 1, 2)])
def test_closed_gates_leave_the_text_model_as_it_is(after):
    vision, plain = Vision(MODEL.shape, layers=2, after=after), run()
    assert run(vision, [image_of(), None, image_of(14, 14)]).tobytes() == plain.tobytes(), "bit for bit"
    assert not np.array_equal(run(open_gates(vision, 1e-3), [image_of()] * 3), plain)


@pytest.mark.parametrize("gate", [0, 1])
def test_each_gate_opens_its_own_half(gate):
    vision = Vision(MODEL.shape)
    vision.blocks[0]["gates"][gate] = 0.5
    first, second = run(vision, [image_of(seed=1)] * 3), run(vision, [image_of(seed=2)] * 3)
    assert np.array_equal(first, second) == (gate == 1), "only the attention looks at the image"
    assert not np.allclose(first, run())


def test_gates_are_tanh():
    """Gates of 20 are as open as gates of 40; a gate turned about turns what it adds."""
    vision, images = Vision(MODEL.shape, after=(2,)), [image_of()] * 3
    np.testing.assert_array_equal(
        run(open_gates(vision, 20.0), images), run(open_gates(vision, 40.0), images)
    )
    x = np.random.default_rng(0).standard_normal((4, 16))
    added = []
    for gate in (-0.7, 0.7):
        vision.blocks[2]["gates"][:] = gate, 0
        added.append(vision.hook(images)(2, x, np.zeros(4, int)) - x)
    np.testing.assert_allclose(added[0], -added[1], rtol=1e-9, atol=1e-12)


def test_each_row_sees_its_own_image_only():
    vision, images = (
        open_gates(Vision(MODEL.shape, after=(0, 2))),
        [image_of(seed=1), None, image_of(14, 56, seed=2)],
    )
    together, plain = run(vision, images), run()
    np.testing.assert_array_equal(together[1], plain[1])
    for row in (0, 2):
        single = run(vision, images, TOKENS[row : row + 1], rows=[row])[0]
        np.testing.assert_allclose(together[row], single, rtol=1e-9, atol=1e-12)
        assert not np.allclose(together[row], plain[row])


def test_decoding_with_a_cache_is_the_whole_run():
    vision, images = (
        open_gates(Vision(MODEL.shape, after=(0, 1, 2))),
        [image_of(seed=1), image_of(28, 28, seed=3), None],
    )
    whole, hook, cache = run(vision, images), vision.hook(images), MODEL.cache(3, 8)
    pieces = [MODEL.forward(TOKENS[:, :2], cache, after_layer=hook)] + [
        MODEL.forward(TOKENS[:, i : i + 1], cache, after_layer=hook) for i in (2, 3)
    ]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, rtol=1e-9, atol=1e-12)


def test_every_patch_counts_and_so_does_its_place():
    vision, image = open_gates(Vision(MODEL.shape)), image_of()
    plain = run(vision, [image] * 3)
    for i in range(3):
        changed = image.copy()
        changed[14 * i, 14, 0] ^= 255
        assert not np.allclose(run(vision, [changed] * 3), plain, rtol=1e-12, atol=0)
    assert not np.allclose(run(vision, [image[:, ::-1].copy()] * 3), plain)
    swapped = np.concatenate([image[14:28], image[:14], image[28:]])
    assert not np.allclose(run(vision, [swapped] * 3), plain), "the same patches in another order"


def test_parameters_by_hand():
    """Text width 16 in 4 heads of 4, visual width 8, at most 5 patches, 2 encoder layers, 2 blocks."""
    vision = Vision(MODEL.shape, d_vision=8, layers=2, after=(0, 2), max_patches=5)
    encoder = 588 * 8 + 5 * 8 + 2 * (4 * 8 * 8 + 2 * 8 * 32 + 2 * 8)
    cross = 2 * ((16 * 16 + 2 * 8 * 16 + 16 * 16) + 2 * 16 * 64 + 2 * 16 + 2)
    assert vision.parameters() == {"encoder": encoder, "cross_attention": cross}
    assert sum(Transformer(tiny_shape(layers=3)).parameters().values()) == sum(MODEL.parameters().values()), (
        "beside the text model, not in it"
    )


def test_flop_by_hand():
    """6 patches through an encoder layer of width 8; text tokens of width 16 look at 6 visual tokens each."""
    vision, meter = open_gates(Vision(MODEL.shape, d_vision=8, after=(0, 2))), Meter()
    hook, cache = vision.hook([image_of(), None, image_of()], meter), MODEL.cache(3, 8)
    encode = 6 * 588 * 8 + 6 * 4 * 8 * 8 + 6 * 2 * 8 * 32 + 6 * 6 * 2 * 8
    once = 2 * (encode + 2 * 6 * 2 * 8 * 16)
    assert meter.flop == {"vision": 2 * once}
    token = 2 * (2 * 16 * 16 + 2 * 16 * 64 + 6 * 2 * 16)  # after each of two layers
    MODEL.forward(TOKENS, cache, after_layer=hook)
    MODEL.forward(TOKENS[:, :1], cache, after_layer=hook)
    assert meter.flop == {"vision": 2 * (once + 2 * (4 + 1) * token)}, (
        "the visual keys and values are computed once"
    )


def test_a_gate_adds_what_the_only_visual_token_holds():
    """With one key each head's weight is 1: the block adds tanh(gate) value W_o."""
    vision, rng = Vision(MODEL.shape), np.random.default_rng(3)
    vision.blocks[0]["gates"][:] = 0.5, 0
    x, k, v = (rng.standard_normal(size) for size in ((2, 16), (1, 4, 4), (1, 4, 4)))
    added = vision.cross(0, x, k, v, Meter()) - x
    assert added == pytest.approx(
        np.repeat(np.tanh(0.5) * v.reshape(1, 16) @ vision.blocks[0]["o"], 2, axis=0)
    )
