"""Vision input: what a visual token weighs, what it takes to load 2 trillion of them, and what seeing costs.

`gpt4lib.simulate.images` cuts images into patches and packs them into files.
"""

from ..spine.law import Law, letters
from . import dataset
from .architecture import C_pair, alike, pairs
from .dense_wall import chars_tok, tok_word
from .notation import *

symbol, share, constant = letters(11, "Vision input")

# ---- bytes of a token ---------------------------------------------------------------------
chroma = symbol("chroma", "1", "pixels that share one pair of colour samples", "s_col")
sample_bytes = symbol("sample_bytes", "byte", "bytes of one sample: brightness or colour", "b_smp")
px_bytes = symbol("px_bytes", "byte", "bytes of one pixel", "b_px")
pixel = Law(px_bytes, sample_bytes * (1 + 2 / chroma), "Brightness for each pixel, colour for some")
side = symbol("side", "1", "side of a square patch, in pixels", "s_px")
height = symbol("height", "1", "height of an image, in pixels", "h_px")
width = symbol("width", "1", "width of an image, in pixels", "w_px")
tok_img = symbol("tok_img", "token", "visual tokens of one image", "T_img")
grid = Law(tok_img, tok * height * width / side**2, "One token a patch", source="dosovitskiy2021")
b_vis = symbol("b_vis", "byte/token", "bytes of one visual token")
visual_token = Law(b_vis, px_bytes * height * width / tok_img, "An image's bytes over its tokens")
patch_token = visual_token.given(grid)
char_bytes = constant("char_bytes", 1, "byte", "bytes of one ASCII character")
b_text = symbol("b_text", "byte/token", "bytes of one text token")
text_token = Law(b_text, char_bytes * chars_tok / tok, "Characters of a token")
word_bytes = symbol("word_bytes", "byte", "bytes of a word, its space included", "b_word")
word_token = Law(b_text, word_bytes / tok_word, "A word's bytes over its tokens")
x_io = symbol("x_io", "1", "bytes of a visual token over those of a text token")
ratio = Law(x_io, b_vis / b_text, "Visual over text, as bytes")
n_images = symbol("n_images", "1", "images", "n_img")
pack_vis = symbol("pack_vis", "1", "raw bytes of an image over its bytes in the file", "z_vis")
Q_store = symbol("Q_store", "byte", "bytes stored")
packing = Law(pack_vis, px_bytes * height * width * n_images / Q_store, "Raw over stored bytes of images")
pack_text = symbol("pack_text", "1", "raw bytes of a text over its bytes in the file", "z_text")
packed_ratio = Law(x_io, (b_vis / pack_vis) / (b_text / pack_text), "Visual over text, both compressed")
tokens_of_images = Law(D, n_images * tok_img, "Tokens of a set of images, seen once")

# ---- bytes per second ---------------------------------------------------------------------
b_in = symbol("b_in", "byte/token", "bytes of one token as it is loaded")
flow = symbol("flow", "byte/second", "bytes that the whole cluster loads per second", "phi")
cluster_flow = Law(flow, R * b_in, "Bytes for the whole cluster")
flow_server = symbol("flow_server", "byte/second", "bytes that one server loads per second", "phi_srv")
server_flow = Law(flow_server, flow * node * rank_gpu / n, "Bytes for one server")
flow_gpu = symbol("flow_gpu", "byte/second/GPU", "bytes that one GPU takes in per second", "phi_GPU")
gpu_flow = Law(flow_gpu, flow / n, "Bytes for one GPU")
feed = symbol("feed", "byte/second", "rate of the path by which one server loads", "beta_feed")
x_feed = symbol("x_feed", "1", "share of a server's path that loading takes")
feed_share = Law(x_feed, flow_server / feed, "A server's path").given(server_flow, cluster_flow, dataset.rate)
flow_of_size = Law(flow_gpu, F * mfu * b_in / (k_train * N), "Bytes for one GPU, by the model's size")
stored = Law(Q_store, D * b_in, "Storage for the tokens")
rent_store = symbol("rent_store", "USD/byte/second", "price of storage", "r_store")
storage_rent = Law(M, Q_store * rent_store * t, "Rent of the storage")
t_dec = symbol("t_dec", "second", "time in which one core decodes one image")
n_core = symbol("n_core", "1", "cores that decode for the whole cluster")
decoding = Law(n_core, R * t_dec / tok_img, "Cores that decode")

# ---- cross-attention ----------------------------------------------------------------------
every = symbol("every", "1", "layers of the language model for each cross-attention block", r"L_{\times}")
n_x = symbol("n_x", "1", "cross-attention blocks", r"n_{\times}")
blocks = Law(n_x, L / every, "One block for every few layers", source="alayrac2022")
N_ask = symbol("N_ask", "parameter", "part of the blocks that works on a text token")
ask = Law(N_ask, w * n_x * d * (2 * n_h * d_h + n_mat * d_ff), "Query, output and MLP", source="alayrac2022")
d_vis = symbol("d_vis", "1", "width of a visual token where the blocks read it")
N_see = symbol("N_see", "parameter", "part of the blocks that works on a visual token")
see = Law(N_see, w * n_x * 2 * d_vis * n_kv * d_h, "Key and value", source="alayrac2022")
N_x = symbol("N_x", "parameter", "parameters of the cross-attention blocks", r"N_{\times}")
cross = Law(N_x, N_ask + N_see, "Parameters of the blocks", source="alayrac2022").given(ask, see)
cross_as_layers = Law(N_x, (N_attn + N_exp) / every, "A block is a dense layer", source="alayrac2022")
_pairs = pairs.given(Law(L, n_x), *alike)
C_x = symbol("C_x", "FLOP/token", "forward FLOP that the blocks add to a text token", r"C_{\times}")
cross_flop = Law(C_x, k_fwd * N_ask + C_pair, "FLOP that the blocks add to a text token").given(ask, _pairs)
x_add = symbol("x_add", "1", "FLOP added over FLOP of the text model", r"x_{\times}")
added = Law(x_add, C_x / C_tok, "FLOP added to a text token")
all_trained = Law(C, k_train * (N + N_x) * D, "All weights learn")
_meaning = "training FLOP of a frozen parameter: 2 forward, 2 for the gradient of its inputs"
k_frozen = constant("k_frozen", 4, "FLOP/parameter/token", _meaning, "kaplan2020")
frozen_text = Law(C, (k_frozen * N + k_train * N_x) * D, "The text model is frozen", source="alayrac2022")
