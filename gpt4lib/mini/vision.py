"""Vision in miniature: patches, a small encoder, gated cross-attention between a text model's layers.

    vision = Vision(model.shape, d_vision=32, after=(0, 1), seed=0)
    model.forward(tokens, cache, after_layer=vision.hook([image, None]))   # an image or None a cache row

With every gate at zero, where training starts, the text model's logits are unchanged bit for bit. Sources:
alayrac2022 (Flamingo) for the gated layers, here without its resampler; dosovitskiy2021 for the patches.
"""

from __future__ import annotations

import numpy as np

from ..facts.models import Model
from ..simulate.images import patches as patches_of_images
from ..spine.errors import BadInput
from .meter import Meter
from .model import rms_norm, run_mlp, softmax

PATCH = 14


def patches(image: np.ndarray, side: int = PATCH) -> np.ndarray:
    """The visual tokens before the encoder: (rows x columns, side x side x 3), bytes as in the image.

    `image` is (height, width, 3), a byte each. Raises BadInput where a side is not a multiple of the patch.

    >>> patches(np.zeros((28, 42, 3), np.uint8)).shape
    (6, 588)
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise BadInput(f"image takes bytes (height, width, 3), got {image.dtype} of shape {image.shape}")
    return patches_of_images(image[None], side)[0]


def keys_values(memory, w: dict, heads: int, meter: Meter) -> list:
    """Keys and values (tokens, heads, width) of what is looked at."""
    return [meter.multiply("vision", memory, w[name]).reshape(len(memory), heads, -1) for name in "kv"]


def attend(x, k, v, w: dict, meter: Meter):
    """Attention of x (tokens, d) over all keys and values, unmasked: (tokens, d)."""
    q = meter.multiply("vision", x, w["q"]).reshape(len(x), *k.shape[1:])
    meter.flop["vision"] += 2 * 2 * q.size * len(k)  # the scores, then the mixing
    weights = softmax(np.einsum("thw,mhw->htm", q, k) / np.sqrt(q.shape[2]))
    return meter.multiply("vision", np.einsum("htm,mhw->thw", weights, v).reshape(len(x), -1), w["o"])


class Vision:
    """An encoder of `layers` layers and width `d_vision`; a gated block after each text layer in `after`.

    Weights are `patch`, `encoder` and `blocks` (by text layer); a block's `gates` are its attention's and its
    MLP's.
    """

    def __init__(
        self, shape: Model, *, d_vision: int = 32, layers: int = 1, after=(0,), max_patches=256, seed=0
    ):
        if not set(after) <= set(range(shape.layers)):
            raise BadInput(f"after takes layers from 0 to {shape.layers - 1}, got {tuple(after)}")
        rng = np.random.default_rng(seed)

        def matrix(rows, columns):
            return rng.standard_normal((rows, columns)) / np.sqrt(rows)

        def block(d, d_memory, inner):
            sizes = {"q": (d, inner), "k": (d_memory, inner), "v": (d_memory, inner), "o": (inner, d)}
            sizes |= {"in": (d, 4 * d), "out": (4 * d, d)}
            return {name: matrix(*size) for name, size in sizes.items()} | {"norms": np.ones((2, d))}

        self.heads, self.d_vision = shape.n_heads, d_vision
        self.patch = {"w": matrix(3 * PATCH**2, d_vision), "positions": matrix(max_patches, d_vision)}
        self.encoder = [block(d_vision, d_vision, d_vision) for _ in range(layers)]
        inner = shape.n_heads * shape.d_head
        self.blocks = {i: block(shape.d_model, d_vision, inner) | {"gates": np.zeros(2)} for i in after}

    def parameters(self) -> dict:
        """Parameters added to the text model, counted in the arrays: of encoder and cross-attention."""
        parts = {"encoder": (self.patch, *self.encoder), "cross_attention": self.blocks.values()}
        return {name: sum(a.size for w in some for a in w.values()) for name, some in parts.items()}

    def encode(self, image: np.ndarray, meter: Meter | None = None) -> np.ndarray:
        """Visual tokens (patches, d_vision) of an image of bytes. Raises BadInput beyond `max_patches`."""
        meter, flat = meter or Meter(), patches(image)
        if len(flat) > len(self.patch["positions"]):
            raise BadInput(f"image takes at most {len(self.patch['positions'])} patches, got {len(flat)}")
        x = meter.multiply("vision", flat / 255, self.patch["w"]) + self.patch["positions"][: len(flat)]
        for w in self.encoder:
            y = rms_norm(x, w["norms"][0])
            x = x + attend(y, *keys_values(y, w, self.heads, meter), w, meter)
            x = x + run_mlp("vision", w, rms_norm(x, w["norms"][1]), meter)
        return x

    def cross(self, i: int, x: np.ndarray, k, v, meter: Meter) -> np.ndarray:
        """x + tanh(gate) attention over the visual tokens, then + tanh(gate) MLP, after text layer i."""
        w = self.blocks[i]
        gates = np.tanh(w["gates"])
        x = x + gates[0] * attend(rms_norm(x, w["norms"][0]), k, v, w, meter)
        return x + gates[1] * run_mlp("vision", w, rms_norm(x, w["norms"][1]), meter)

    def hook(self, images, meter: Meter | None = None):
        """An `after_layer` for `Model.forward`: each token sees the image of its own cache row, or none.

        Images are encoded and their keys and values computed here, once, however many passes follow.
        """
        meter, seen = meter or Meter(), {}
        for row, image in enumerate(images):
            if image is not None:
                visual = self.encode(image, meter)
                seen[row] = {i: keys_values(visual, w, self.heads, meter) for i, w in self.blocks.items()}

        def after_layer(layer, x, rows):
            x = x.copy()
            for row in seen if layer in self.blocks else ():
                if (mine := rows == row).any():
                    x[mine] = self.cross(layer, x[mine], *seen[row][layer], meter)
            return x

        return after_layer
