"""Vision input: what a visual token weighs, what it takes to load 2 trillion of them, and what seeing costs.

    patch_token(px_bytes=3, side=14)                      # 588 bytes, nobody's choice but geometry
    tokens = patches(images, 14)                          # (images, tokens, bytes)
    len(encode(images[0], "JPEG", quality=75)) / tokens.shape[1]

The laws stand in the order of chapter 11. Sources: dosovitskiy2021 for patches, alayrac2022 for the blocks.
"""

from __future__ import annotations

import io
import re
from collections import Counter

import numpy as np

from . import architecture, dataset, shapes
from .data import pick, published
from .law import Law
from .symbols import (
    C,
    C_pair,
    C_tok,
    C_x,
    D,
    F,
    L,
    M,
    N,
    N_ask,
    N_attn,
    N_exp,
    N_see,
    N_x,
    Q_store,
    R,
    b_in,
    b_text,
    b_vis,
    char_bytes,
    chars_tok,
    chroma,
    d,
    d_ff,
    d_h,
    d_qk,
    d_v,
    d_vis,
    every,
    feed,
    flow,
    flow_gpu,
    flow_server,
    height,
    k_frozen,
    k_fwd,
    k_train,
    mfu,
    n,
    n_core,
    n_h,
    n_images,
    n_kv,
    n_mat,
    n_x,
    node,
    pack_text,
    pack_vis,
    px_bytes,
    rank_gpu,
    rent_store,
    sample_bytes,
    side,
    t,
    t_dec,
    tok,
    tok_img,
    tok_word,
    w,
    width,
    word_bytes,
    x_add,
    x_feed,
    x_io,
)
from .units import BadInput

# ---- bytes of a token ---------------------------------------------------------------------
pixel = Law(px_bytes, sample_bytes * (1 + 2 / chroma), "Brightness for each pixel, colour for some")
grid = Law(tok_img, tok * height * width / side**2, "One token a patch", source="dosovitskiy2021")
visual_token = Law(b_vis, px_bytes * height * width / tok_img, "An image's bytes over its tokens")
patch_token = visual_token.given(grid)
text_token = Law(b_text, char_bytes * chars_tok / tok, "Characters of a token")
word_token = Law(b_text, word_bytes / tok_word, "A word's bytes over its tokens")
ratio = Law(x_io, b_vis / b_text, "Visual over text, as bytes")
packing = Law(
    pack_vis, px_bytes * height * width * n_images / Q_store, "Raw over stored bytes of a set of images"
)
packed_ratio = Law(x_io, (b_vis / pack_vis) / (b_text / pack_text), "Visual over text, both compressed")
tokens_of_images = Law(D, n_images * tok_img, "Tokens of a set of images, seen once")

# ---- bytes per second ---------------------------------------------------------------------
cluster_flow = Law(flow, R * b_in, "Bytes for the whole cluster")
server_flow = Law(flow_server, flow * node * rank_gpu / n, "Bytes for one server")
gpu_flow = Law(flow_gpu, flow / n, "Bytes for one GPU")
feed_share = Law(x_feed, flow_server / feed, "Share of a server's path").given(
    server_flow, cluster_flow, dataset.rate
)
flow_of_size = Law(
    flow_gpu, F * mfu * b_in / (k_train * N), "Bytes for one GPU that trains a model of size N"
)
stored = Law(Q_store, D * b_in, "Storage for the tokens")
storage_rent = Law(M, Q_store * rent_store * t, "Rent of the storage")
decoding = Law(n_core, R * t_dec / tok_img, "Cores that decode")

# ---- cross-attention ----------------------------------------------------------------------
blocks = Law(n_x, L / every, "One block for every few layers", source="alayrac2022")
ask = Law(N_ask, w * n_x * d * (2 * n_h * d_h + n_mat * d_ff), "Query, output and MLP", source="alayrac2022")
see = Law(N_see, w * n_x * 2 * d_vis * n_kv * d_h, "Key and value", source="alayrac2022")
cross = Law(N_x, N_ask + N_see, "Parameters of the cross-attention blocks", source="alayrac2022").given(
    ask, see
)
cross_as_layers = Law(
    N_x, (N_attn + N_exp) / every, "A block is as large as a dense layer", source="alayrac2022"
)
_pairs = architecture.pairs.given(Law(L, n_x), Law(d_qk, d_h), Law(d_v, d_h))
cross_flop = Law(C_x, k_fwd * N_ask + C_pair, "FLOP that the blocks add to a text token").given(ask, _pairs)
added = Law(x_add, C_x / C_tok, "FLOP added to a text token")
all_trained = Law(C, k_train * (N + N_x) * D, "All weights learn")
frozen_text = Law(C, (k_frozen * N + k_train * N_x) * D, "The text model is frozen", source="alayrac2022")


def flamingo(model: str, component: str) -> dict:
    """A row of Flamingo's Table 4: {"n_x": layers or blocks, "d": width, "n_h": heads, "d_h": width of a head}.

    Raises BadInput that names the nearest known ones.
    """
    rows = {f"{r['model']}: {r['component']}": r for r in published("flamingo_table4_shapes")}
    row = rows[pick(f"{model}: {component}", rows, "row of Table 4")]
    return {
        "n_x": int(row["L"]),
        "d": int(row["D"]),
        "n_h": int(row["H"]),
        "d_h": int(row["D"]) // int(row["H"]),
    }


def flamingo_blocks(model: str, component: str = "GATED XATTN-DENSE", *, n_x=None, d_vis=None) -> float:
    """Parameters of a Flamingo's blocks by Table 4; other blocks or another width of the visual tokens if given.

    Without `d_vis` visual tokens are as wide as the blocks, which makes it the count of the resampler too.

    >>> flamingo_blocks("Flamingo-80B") / 1e9
    9.663676416
    """
    row = flamingo(model, component)
    row |= {"n_x": n_x or row["n_x"], "n_kv": row["n_h"], "d_vis": d_vis or row["d"], "d_ff": 4 * row["d"]}
    return cross(n_mat=2, **row)


def flamingo_text(model: str, *, layers=None) -> int:
    """Parameters of a Flamingo's frozen text model by Table 4, counted as a Chinchilla; with other layers if given."""
    row = flamingo(model, "Frozen LM")
    return shapes.count(
        shapes.from_mapping(
            {
                "name": model,
                "layers": layers or row["n_x"],
                "d_model": row["d"],
                "n_heads": row["n_h"],
                "n_kv_heads": row["n_h"],
                "d_head": row["d_h"],
                "d_ff": 4 * row["d"],
                "mlp_matrices": 2,
                "vocab": 32_000,
                "tied_embeddings": True,
                "positions": "relative",
            }
        )
    ).total


# ---- images and text as they are ----------------------------------------------------------
def patches(images: np.ndarray, side: int) -> np.ndarray:
    """Visual tokens of a stack of images: (images, tokens, side x side x channels), bytes as they were.

    `images` is (images, height, width, channels), a byte each. Raises BadInput where a side of the image is
    smaller than a patch or no multiple of it.

    >>> patches(np.zeros((2, 224, 224, 3), np.uint8), 14).shape
    (2, 256, 588)
    """
    if isinstance(side, bool) or not isinstance(side, int) or side < 1:
        raise BadInput(f"side takes a whole number of pixels from 1, got {side!r}")
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype != np.uint8:
        raise BadInput(
            f"images takes bytes (images, height, width, channels), got {images.dtype} of {images.shape}"
        )
    count, high, wide, channels = images.shape
    if not count or not channels:
        raise BadInput(f"images takes at least one image with one channel, got {images.shape}")
    if min(high, wide) < side:
        raise BadInput(f"images takes sides of at least one patch, {side} pixels, got {high} by {wide}")
    if high % side or wide % side:
        raise BadInput(f"images takes sides that are multiples of {side} pixels, got {high} by {wide}")
    tiles = images.reshape(count, high // side, side, wide // side, side, channels)
    return tiles.swapaxes(2, 3).reshape(count, -1, side * side * channels)


def encode(image: np.ndarray, kind: str, **options) -> bytes:
    """An image of bytes (height, width, 3) as a file of that kind, "PNG" or "JPEG"; options are Pillow's."""
    from PIL import Image

    if kind not in ("PNG", "JPEG"):
        raise BadInput(f"kind takes 'PNG' or 'JPEG', got {kind!r}")
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise BadInput(f"image takes bytes (height, width, 3), got {image.dtype} of shape {image.shape}")
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def decode(data: bytes) -> np.ndarray:
    """The image (height, width, 3) in a file. Raises BadInput for what is no image."""
    from PIL import Image, UnidentifiedImageError

    try:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise BadInput(f"data takes an image file, got {len(data)} bytes that are none ({error})") from None


def samples(size: int = 448) -> dict[str, np.ndarray]:
    """Four kinds of square images (size, size, 3): photograph, page of text, drawing, noise.

    The photograph is matplotlib's sample grace_hopper.jpg, an official U.S. Navy portrait, which is in the public
    domain, cut to a square and scaled. The page is the opening of the shipped novel, 32 lines of 64 characters.
    """
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    from .mini.ngram import paragraphs

    if not isinstance(size, int) or not 64 <= size <= 4096:
        raise BadInput(f"size takes a whole number of pixels from 64 to 4096, got {size!r}")
    folder = matplotlib.get_data_path()
    portrait = Image.open(f"{folder}/sample_data/grace_hopper.jpg").convert("RGB").crop((0, 0, 512, 512))
    page = Image.new("RGB", (1024, 1024), "white")
    font = ImageFont.truetype(
        f"{folder}/fonts/ttf/DejaVuSansMono.ttf", 26, layout_engine=ImageFont.Layout.BASIC
    )
    text = " ".join(paragraphs())[: PAGE_LINES * PAGE_COLUMNS]
    lines = [text[i : i + PAGE_COLUMNS] for i in range(0, len(text), PAGE_COLUMNS)]
    for i, line in enumerate(lines):
        ImageDraw.Draw(page).text((8, 32 * i), line, "black", font)
    y, x = np.mgrid[0:size, 0:size] / size
    disc = (x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.06
    drawing = np.where(
        disc[..., None], (0, 114, 178), np.where((y > 0.7 - 0.3 * x)[..., None], (230, 159, 0), 255)
    )
    noise = np.random.default_rng(0).integers(256, size=(size, size, 3))
    scaled = {
        name: np.asarray(i.resize((size, size), Image.Resampling.LANCZOS))
        for name, i in (("photograph", portrait), ("page of text", page))
    }
    return scaled | {"drawing": drawing.astype(np.uint8), "noise": noise.astype(np.uint8)}


PAGE_LINES, PAGE_COLUMNS = 32, 64  # of the page in `samples`


def byte_pairs(text: str, held_out: str, merges: int) -> np.ndarray:
    """Bytes a token of `held_out` after 0, 1, ..., `merges` byte-pair merges learnt on `text` (both ASCII).

    A token may begin with a space or line break but holds none inside, as in GPT's tokenisers; so each different
    word is kept once, with how often it occurs. Source: sennrich2016.
    """
    if isinstance(merges, bool) or not isinstance(merges, int) or merges < 0:
        raise BadInput(f"merges takes a whole number of at least 0, got {merges!r}")
    parts, vocab, found = [_words("text", text), _words("held_out", held_out)], 128 + merges, [1.0]
    blank = np.zeros(vocab, dtype=bool)
    blank[[10, 32]] = True
    for new in range(128, vocab):
        tokens, times = parts[0]
        inside = ~blank[tokens[1:]]
        pairs, which = np.unique((tokens[:-1] * vocab + tokens[1:])[inside], return_inverse=True)
        if not len(pairs):
            break
        best = int(pairs[np.argmax(np.bincount(which, weights=times[1:][inside]))])
        blank[new] = blank[best // vocab]
        parts = [_merged(*part, *divmod(best, vocab), new) for part in parts]
        found.append(len(held_out) / parts[1][1].sum())
    return np.array(found)


def _words(name, text):
    """(tokens of the different words one after another, how often each token's word occurs)."""
    if not isinstance(text, str) or not text.isascii() or len(text) < 2:
        raise BadInput(f"{name} takes an ASCII text of two characters or more, got {text!r:.40}")
    words = Counter(
        re.findall(r"[ \n]?[^ \n]+|[ \n]", text)
    )  # only the first can lack its space, and it stays first
    tokens = np.frombuffer("".join(words).encode(), np.uint8).astype(np.int64)
    return tokens, np.repeat(list(words.values()), [len(word) for word in words])


def _merged(tokens, times, left, right, new):
    at = np.flatnonzero((tokens[:-1] == left) & (tokens[1:] == right))
    if left == right:  # of a run that overlaps itself take every second one
        starts = np.maximum.accumulate(np.where(np.diff(at, prepend=-2) != 1, np.arange(len(at)), 0))
        at = at[(np.arange(len(at)) - starts) % 2 == 0]
    tokens[at] = new
    return np.delete(tokens, at + 1), np.delete(times, at + 1)
