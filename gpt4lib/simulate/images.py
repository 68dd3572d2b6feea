"""Images and texts as they are: patches, files, byte pairs. Sources: dosovitskiy2021, sennrich2016."""

from __future__ import annotations

import io
import re
from collections import Counter

import numpy as np

from ..spine.errors import BadInput


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
        takes = "bytes (images, height, width, channels)"
        raise BadInput(f"images takes {takes}, got {images.dtype} of {images.shape}")
    count, high, wide, channels = images.shape
    if not count or not channels:
        raise BadInput(f"images takes at least one image with one channel, got {images.shape}")
    if min(high, wide) < side:
        raise BadInput(f"images takes sides of at least one patch, {side} pixels, got {high} by {wide}")
    if high % side or wide % side:
        raise BadInput(f"images takes sides that are multiples of {side} pixels, got {high} by {wide}")
    tiles = images.reshape(count, high // side, side, wide // side, side, channels)
    return tiles.swapaxes(2, 3).reshape(count, -1, side * side * channels)


def encode_image(image: np.ndarray, kind: str, **options) -> bytes:
    """An image of bytes (height, width, 3) as a file of that kind, "PNG" or "JPEG"; options are Pillow's.

    Raises BadInput for another kind and another image.
    """
    from PIL import Image

    if kind not in ("PNG", "JPEG"):
        raise BadInput(f"kind takes 'PNG' or 'JPEG', got {kind!r}")
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise BadInput(f"image takes bytes (height, width, 3), got {image.dtype} of shape {image.shape}")
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def decode_image(data: bytes) -> np.ndarray:
    """The image (height, width, 3) in a file. Raises BadInput for what is no image."""
    from PIL import Image, UnidentifiedImageError

    try:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise BadInput(f"data takes an image file, got {len(data)} bytes that are none ({error})") from None


def samples(size: int = 448) -> dict[str, np.ndarray]:
    """Four kinds of square images (size, size, 3): photograph, page of text, drawing, noise.

    The photograph is matplotlib's sample grace_hopper.jpg, an official U.S. Navy portrait, which is in the
    public domain, cut to a square and scaled. The page is the opening of the shipped novel, 32 lines of 64
    characters. Raises BadInput unless `size` is a whole number from 64 to 4096.
    """
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    from .novel import paragraphs

    if not isinstance(size, int) or not 64 <= size <= 4096:
        raise BadInput(f"size takes a whole number of pixels from 64 to 4096, got {size!r}")
    folder = matplotlib.get_data_path()
    portrait = Image.open(f"{folder}/sample_data/grace_hopper.jpg").convert("RGB").crop((0, 0, 512, 512))
    page, basic = Image.new("RGB", (1024, 1024), "white"), ImageFont.Layout.BASIC
    font = ImageFont.truetype(f"{folder}/fonts/ttf/DejaVuSansMono.ttf", 26, layout_engine=basic)
    text = " ".join(paragraphs())
    for i in range(PAGE_LINES):
        line = text[i * PAGE_COLUMNS : (i + 1) * PAGE_COLUMNS]
        ImageDraw.Draw(page).text((8, 32 * i), line, "black", font)
    y, x = np.mgrid[0:size, 0:size, 0:1][:2] / size
    disc, slope = (x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.06, y > 0.7 - 0.3 * x
    drawing = np.where(disc, (0, 114, 178), np.where(slope, (230, 159, 0), 255))
    noise = np.random.default_rng(0).integers(256, size=(size, size, 3))
    scaled = (np.asarray(i.resize((size, size), Image.Resampling.LANCZOS)) for i in (portrait, page))
    drawn = (image.astype(np.uint8) for image in (drawing, noise))
    return dict(zip(("photograph", "page of text", "drawing", "noise"), (*scaled, *drawn)))


PAGE_LINES, PAGE_COLUMNS = 32, 64  # of the page in `samples`


def byte_pairs(text: str, held_out: str, merges: int) -> np.ndarray:
    """Bytes a token of `held_out` after 0, 1, ..., `merges` byte-pair merges learnt on `text` (both ASCII).

    A token may begin with a space or line break but holds none inside, as in GPT's tokenisers; so each
    different word is kept once, with how often it occurs. Raises BadInput for fewer than two characters, for
    others than ASCII's and for a negative number of merges. Source: sennrich2016.
    """
    if isinstance(merges, bool) or not isinstance(merges, int) or merges < 0:
        raise BadInput(f"merges takes a whole number of at least 0, got {merges!r}")
    parts, vocab = [_words("text", text), _words("held_out", held_out)], 128 + merges
    found = [1.0]
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
    # Only the first word can lack its space, and it stays first.
    words = Counter(re.findall(r"[ \n]?[^ \n]+|[ \n]", text))
    tokens = np.frombuffer("".join(words).encode(), np.uint8).astype(np.int64)
    return tokens, np.repeat(list(words.values()), [len(word) for word in words])


def _merged(tokens, times, left, right, new):
    at = np.flatnonzero((tokens[:-1] == left) & (tokens[1:] == right))
    if left == right:  # of a run that overlaps itself take every second one
        gaps = np.diff(at, prepend=-2)  # not mutated: any number below -1 starts a run
        starts = np.maximum.accumulate(np.where(gaps != 1, np.arange(len(at)), 0))
        at = at[(np.arange(len(at)) - starts) % 2 == 0]
    tokens[at] = new
    return np.delete(tokens, at + 1), np.delete(times, at + 1)
