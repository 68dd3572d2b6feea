"""The letters of three or more chapters, each with its unit and meaning."""

from ..spine.law import Quantity, letters

symbol, share, constant = letters(0.1, "Size, data, compute")
N = symbol("N", "parameter", "parameters that work on each token")
N_total = symbol("N_total", "parameter", "parameters stored", "N_tot")
D = symbol("D", "token", "tokens trained on")
C = symbol("C", "FLOP", "training compute")
_work = "FLOP/parameter/token"
_kaplan = "kaplan2020"
k_train = constant(
    "k_train", 6, _work, "training FLOP per parameter and token: 2 forward, 4 backward", _kaplan
)
k_fwd = constant("k_fwd", 2, _work, "forward FLOP per parameter and token: one multiply, one add", _kaplan)

symbol, share, constant = letters(0.2, "Machine, time, money")
n = symbol("n", "GPU", "GPUs at work")
F = symbol("F", "FLOP/second/GPU", "dense peak rate of one GPU")
mfu = share("mfu", "model FLOP utilisation: the share of peak that model FLOP reach", "eta")
t = symbol("t", "second", "wall-clock time")
M = symbol("M", "USD", "cost")
price = symbol("price", "USD/GPU/second", "price of one GPU per unit of time", "r")
thousand = constant("thousand", 1000, "token", "a thousand tokens")

symbol, share, constant = letters(0.3, "Schedule of training")
R = symbol("R", "token/second", "tokens trained on per second")
B_tok = symbol("B_tok", "token", "tokens in a training batch")
T = symbol("T", "token", "tokens in a training sequence")
tp = symbol("tp", "1", "tensor-parallel width", "n_tp")
p = symbol("p", "1", "pipeline stages")
m = symbol("m", "1", "micro-batches per pipeline and step")
b = symbol("b", "1", "sequences in a micro-batch")
v = symbol("v", "1", "chunks of layers per pipeline stage")
t_step = symbol("t_step", "second", "time of one optimiser step")
link = symbol("link", "byte/second", "rate of one network link, each way", "beta")
rank_gpu = constant("rank_gpu", 1, "GPU", "each rank is one GPU")
bubble = share("bubble", "share of a step that a stage waits for the pipeline", "x_bub")
link_in = symbol("link_in", "byte/second", "link rate inside a segment", "beta_in")
link_out = symbol("link_out", "byte/second", "link rate between segments", "beta_out")

symbol, share, constant = letters(0.4, "Shape")
w = constant("w", 1, "parameter", "one matrix entry is one parameter")
L = symbol("L", "1", "layers")
n_mat = symbol("n_mat", "1", "matrices of one MLP: 2 plain, 3 gated")
d = symbol("d", "1", "model width")
d_ff = symbol("d_ff", "1", "MLP width")
V = symbol("V", "1", "vocabulary size")
n_h = symbol("n_h", "1", "query heads")
n_kv = symbol("n_kv", "1", "key-value heads")
g_kv = symbol("g_kv", "1", "key-value heads per query head")
d_h = symbol("d_h", "1", "width of one head")
E = symbol("E", "1", "experts in a layer")
k = symbol("k", "1", "experts that a token is routed to")
S = symbol("S", "token", "tokens that one token attends to")
B_seq = symbol("B_seq", "1", "sequences decoded together, one token each")
N_attn = symbol("N_attn", "parameter", "attention parameters, all layers")
N_exp = symbol("N_exp", "parameter", "parameters of one MLP or expert, all layers")
N_ref = symbol("N_ref", "parameter", "parameters of the model compared with")
C_tok = symbol("C_tok", "FLOP/token", "forward FLOP of one token in its matrices")
C_full = symbol("C_full", "FLOP/token", "forward FLOP of one token, attention scores included")
tok = constant("tok", 1, "token", "one token")
k_pair = constant(
    "k_pair", 2, "FLOP/token**2", "one multiply, one add per head-width entry and pair of tokens", _kaplan
)

symbol, share, constant = letters(0.5, "Memory, traffic, serving")
kv = symbol("kv", "byte/token", "cache bytes of one token", "kappa")
kv_bytes = symbol("kv_bytes", "byte/token", "bytes of one entry of a token's key or value", "b_kv")
Q_kv = symbol("Q_kv", "byte", "cache that one decode step reads")
N_fix = symbol("N_fix", "parameter", "parameters that every step reads")
E_hit = symbol("E_hit", "1", "experts of a layer with at least one token, mean over the layers")
weight_bytes = symbol("weight_bytes", "byte/parameter", "bytes of one weight", "b_w")
Q_w = symbol("Q_w", "byte", "weights that one step reads")
n_tok = symbol("n_tok", "token", "tokens in one pass")
act_bytes = symbol("act_bytes", "byte/token", "bytes of one entry of a token's vector", "b_act")
mem_rate = symbol("mem_rate", "byte/second/GPU", "memory rate of one GPU", "beta_mem")
node = symbol("node", "1", "GPUs in a node", "n_node")
mem = symbol("mem", "byte/GPU", "memory of one GPU", "Q_GPU")
c_tok = symbol("c_tok", "USD/token", "price or cost of one served token", r"c_{\mathrm{tok}}^{\$}")
R_serve = symbol("R_serve", "token/second", "tokens served per second to all users")
R_out = symbol("R_out", "token/second", "tokens put out per second")

__all__ = [_name for _name, _letter in list(globals().items()) if isinstance(_letter, Quantity)]
