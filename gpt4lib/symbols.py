"""The notation: every symbol of the book, once, with its unit and meaning.

Laws live in the chapters' modules; the notation page is printed from this file. Symbols are typeset
in the order in which they stand here.
"""

from .law import constant, symbol

# ---- size, data, compute ------------------------------------------------------------------
N = symbol("N", "parameter", "parameters that work on each token")
N_total = symbol("N_total", "parameter", "parameters stored", latex=r"N_{\mathrm{tot}}")
D = symbol("D", "token", "tokens trained on")
C = symbol("C", "FLOP", "training compute")
k_train = constant(
    "k_train",
    6,
    "FLOP/parameter/token",
    "training FLOP per parameter and token: 2 forward, 4 backward",
    source="kaplan2020",
)
k_fwd = constant(
    "k_fwd",
    2,
    "FLOP/parameter/token",
    "forward FLOP per parameter and token: one multiply, one add",
    source="kaplan2020",
)

# ---- machine, time, money -----------------------------------------------------------------
n = symbol("n", "GPU", "GPUs at work")
F = symbol("F", "FLOP/second/GPU", "dense peak rate of one GPU")
mfu = symbol(
    "mfu", "1", "model FLOP utilisation: the share of peak that model FLOP reach", latex=r"\eta", at_most=1
)
t = symbol("t", "second", "wall-clock time")
price = symbol("price", "USD/GPU/second", "price of one GPU per unit of time", latex="r")
M = symbol("M", "USD", "cost")

# ---- training cost: schedule --------------------------------------------------------------
R = symbol("R", "token/second", "tokens trained on per second")
B_tok = symbol("B_tok", "token", "tokens in a training batch", latex=r"B_{\mathrm{tok}}")
T = symbol("T", "token", "tokens in a training sequence")
b = symbol("b", "1", "sequences in a micro-batch")
tp = symbol("tp", "1", "tensor-parallel width", latex=r"n_{\mathrm{tp}}")
p = symbol("p", "1", "pipeline stages")
dp = symbol("dp", "1", "data-parallel width", latex=r"n_{\mathrm{dp}}")
m = symbol("m", "1", "micro-batches per pipeline and step")
v = symbol("v", "1", "chunks of layers per pipeline stage")
t_step = symbol("t_step", "second", "time of one optimiser step", latex=r"t_{\mathrm{step}}")
grad_bytes = symbol("grad_bytes", "byte/parameter", "bytes reduced per parameter", latex=r"b_{\mathrm{grad}}")
G = symbol("G", "byte", "gradient that each GPU reduces")
link = symbol("link", "byte/second", "rate of one network link, each way", latex=r"\beta")
sharing = symbol("sharing", "1", "GPUs that share one link", latex="s")
t_ar = symbol("t_ar", "second", "time of one all-reduce", latex=r"t_{\mathrm{ar}}")
k_attn = constant(
    "k_attn",
    12,
    "FLOP/token**2",
    "training FLOP per layer, head dimension and pair of tokens",
    source="chowdhery2022",
)
rank_gpu = constant("rank_gpu", 1, "GPU", "each rank is one GPU")

# ---- training cost: failures and the shares of lost time ----------------------------------
failures = symbol("failures", "1", "failures in a published run", latex="k_f")
n_ref = symbol("n_ref", "GPU", "GPUs of the published run", latex=r"n_{\mathrm{ref}}")
t_ref = symbol("t_ref", "second", "length of the published run", latex=r"t_{\mathrm{ref}}")
fail_rate = symbol("fail_rate", "1/GPU/second", "failures per GPU and time", latex=r"\lambda")
mtbf = symbol("mtbf", "second", "mean time between failures of the whole job", latex=r"\mu")
write = symbol("write", "second", "time to write a checkpoint", latex=r"\delta")
restart = symbol("restart", "second", "time to restart after a failure", latex=r"\rho")
tau = symbol("tau", "second", "working time between two checkpoints", latex=r"\tau")
bubble = symbol(
    "bubble", "1", "share of a step that a stage waits for the pipeline", latex=r"x_{\mathrm{bub}}", at_most=1
)
reduce_share = symbol(
    "reduce_share", "1", "share of a step that the all-reduce takes", latex=r"x_{\mathrm{ar}}", at_most=1
)
lost = symbol(
    "lost", "1", "share of time lost to checkpoints and failures", latex=r"x_{\mathrm{fail}}", at_most=1
)
redone = symbol(
    "redone",
    "1",
    "work done over the work of the model: more than one where activations are computed again",
    latex=r"x_{\mathrm{re}}",
)
kernel = symbol("kernel", "1", "utilisation while a GPU computes", latex=r"\eta_{\mathrm{k}}", at_most=1)
part_bubble = symbol(
    "part_bubble", "1", "part of the loss that the bubble explains", latex=r"\phi_{\mathrm{bub}}", at_most=1
)
part_lost = symbol(
    "part_lost", "1", "part of the loss that failures explain", latex=r"\phi_{\mathrm{fail}}", at_most=1
)

# ---- training cost: money and comparisons -------------------------------------------------
gpu_time = symbol("gpu_time", "GPU*second", "GPU time", latex=r"T_{\mathrm{GPU}}")
capex = symbol("capex", "USD/GPU", "purchase price per GPU, its share of the server included", latex="K")
life = symbol("life", "second", "years of service", latex=r"t_{\mathrm{life}}")
busy = symbol("busy", "1", "share of its life that a GPU is rented out", latex="u", at_most=1)
power = symbol("power", "watt/GPU", "power per GPU, its share of the server included", latex="P")
pue = symbol("pue", "1", "power of the building over power of the servers", latex=r"\mathrm{PUE}")
tariff = symbol("tariff", "USD/joule", "price of electricity", latex=r"c_{\mathrm{el}}")
experiments = symbol(
    "experiments", "1", "all compute spent over the compute of the final run", latex=r"f_{\mathrm{exp}}"
)
staff = symbol(
    "staff", "1", "share of staff in the cost of development", latex=r"f_{\mathrm{staff}}", at_most=1
)
multiplier = symbol(
    "multiplier", "1", "cost of development over the cost of the final run", latex=r"f_{\mathrm{cost}}"
)
mfu_ref = symbol("mfu_ref", "1", "utilisation of a published run", latex=r"\eta_{\mathrm{ref}}", at_most=1)
mfu_ratio = symbol(
    "mfu_ratio", "1", "utilisation over that of a published run", latex=r"\eta / \eta_{\mathrm{ref}}"
)
n_new = symbol("n_new", "GPU", "GPUs of the later run", latex=r"n'")
F_new = symbol("F_new", "FLOP/second/GPU", "peak rate of one GPU of the later run", latex=r"F'")
a_N = symbol("a_N", "1", "exponent of the compute-optimal size", latex="a_N")
growth = symbol("growth", "1", "size of the later model over the earlier one", latex=r"N'/N")
pods = symbol("pods", "1", "pods in a cluster", latex=r"n_{\mathrm{pod}}")
racks = symbol("racks", "1", "racks in a pod", latex=r"n_{\mathrm{rack}}")
rack_gpus = symbol("rack_gpus", "GPU", "GPUs in a rack", latex=r"n_{\mathrm{slot}}")
n_cluster = symbol("n_cluster", "GPU", "GPUs in one cluster", latex=r"n_{\mathrm{cluster}}")
link_in = symbol("link_in", "byte/second", "link rate inside a segment", latex=r"\beta_{\mathrm{in}}")
link_out = symbol("link_out", "byte/second", "link rate between segments", latex=r"\beta_{\mathrm{out}}")
link_ratio = symbol(
    "link_ratio",
    "1",
    "link rate inside over between segments",
    latex=r"\beta_{\mathrm{in}} / \beta_{\mathrm{out}}",
)
# ---- end of training cost -----------------------------------------------------------------

# ---- shape and architecture ---------------------------------------------------------------
w = constant("w", 1, "parameter", "one matrix entry is one parameter")
k_pair = constant(
    "k_pair",
    2,
    "FLOP/token**2",
    "one multiply, one add per head-width entry and pair of tokens",
    source="kaplan2020",
)
L = symbol("L", "1", "layers")
n_mat = symbol("n_mat", "1", "matrices of one MLP: 2 plain, 3 gated", latex=r"n_{\mathrm{mat}}")
r_ff = symbol("r_ff", "1", "MLP width in units of the model width", latex=r"r_{\mathrm{ff}}")
a_w = symbol(
    "a_w",
    "1",
    "attention width, all query heads together, in units of the model width",
    latex=r"a_{\mathrm{w}}",
)
d = symbol("d", "1", "model width")
d_ff = symbol("d_ff", "1", "MLP width", latex=r"d_{\mathrm{ff}}")
n_h = symbol("n_h", "1", "query heads", latex=r"n_{\mathrm{h}}")
n_kv = symbol("n_kv", "1", "key-value heads", latex=r"n_{\mathrm{kv}}")
g_kv = symbol("g_kv", "1", "key-value heads per query head", latex=r"g_{\mathrm{kv}}")
d_h = symbol("d_h", "1", "width of one head", latex=r"d_{\mathrm{h}}")
d_qk = symbol("d_qk", "1", "width of one head's query and key", latex=r"d_{\mathrm{qk}}")
d_v = symbol("d_v", "1", "width of one head's value", latex=r"d_{\mathrm{v}}")
d_nope = symbol(
    "d_nope", "1", "part of a latent head's query and key without rotation", latex=r"d_{\mathrm{nope}}"
)
d_rope = symbol(
    "d_rope", "1", "part of a latent head's query and key that is rotated", latex=r"d_{\mathrm{rope}}"
)
r_q = symbol("r_q", "1", "rank of the latent query", latex=r"r_{\mathrm{q}}")
r_kv = symbol("r_kv", "1", "rank of the latent key and value", latex=r"r_{\mathrm{kv}}")
V = symbol("V", "1", "vocabulary size")
n_pos = symbol("n_pos", "1", "positions with a learned vector", latex=r"n_{\mathrm{pos}}")
n_norm = symbol(
    "n_norm", "1", "vectors of one norm: 1 (scale) or 2 (scale and shift)", latex=r"n_{\mathrm{norm}}"
)
E = symbol("E", "1", "experts in a layer")
k = symbol("k", "1", "experts that a token is routed to")
S = symbol("S", "token", "tokens that one token attends to")
B_seq = symbol("B_seq", "1", "sequences decoded together, one token each", latex=r"B_{\mathrm{seq}}")
N_attn = symbol("N_attn", "parameter", "attention parameters, all layers", latex=r"N_{\mathrm{attn}}")
N_exp = symbol("N_exp", "parameter", "parameters of one MLP or expert, all layers", latex=r"N_{\mathrm{exp}}")
N_ref = symbol("N_ref", "parameter", "parameters of the model compared with", latex=r"N_{\mathrm{ref}}")
N_emb = symbol("N_emb", "parameter", "parameters of one vocabulary table", latex=r"N_{\mathrm{emb}}")
N_pos = symbol("N_pos", "parameter", "parameters of positions", latex=r"N_{\mathrm{pos}}")
N_route = symbol("N_route", "parameter", "router parameters, all layers", latex=r"N_{\mathrm{route}}")
N_norm = symbol("N_norm", "parameter", "norm parameters", latex=r"N_{\mathrm{norm}}")
N_bias = symbol("N_bias", "parameter", "bias parameters", latex=r"N_{\mathrm{bias}}")
C_tok = symbol("C_tok", "FLOP/token", "forward FLOP of one token in its matrices", latex=r"C_{\mathrm{tok}}")
C_dense = symbol(
    "C_dense",
    "FLOP/token",
    "forward FLOP of one token if every expert worked on it",
    latex=r"C_{\mathrm{dense}}",
)
C_pair = symbol(
    "C_pair",
    "FLOP/token",
    "forward FLOP of one token in attention scores and mixing",
    latex=r"C_{\mathrm{pair}}",
)
C_full = symbol(
    "C_full", "FLOP/token", "forward FLOP of one token, attention scores included", latex=r"C_{\mathrm{full}}"
)
x_size = symbol("x_size", "1", "size ratio of two models", latex=r"x_{\mathrm{size}}")
x_flop = symbol("x_flop", "1", "FLOP ratio, dense to sparse", latex=r"x_{\mathrm{FLOP}}")
x_mlp = symbol("x_mlp", "1", "parameters of one MLP over those of attention", latex=r"x_{\mathrm{mlp}}")
x_pair = symbol(
    "x_pair", "1", "attention scores' FLOP over those of the matrices", latex=r"x_{\mathrm{pair}}"
)
x_loss = symbol("x_loss", "1", "loss with E_2 experts over loss with E", latex=r"x_{\mathrm{loss}}")
x_data = symbol(
    "x_data", "1", "compute-optimal tokens over the tokens trained on", latex=r"x_{\mathrm{data}}"
)
idle = symbol(
    "idle",
    "1",
    "share of the stored parameters that a token does not use",
    latex=r"s_{\mathrm{idle}}",
    at_most=1,
)
p_idle = symbol(
    "p_idle",
    "1",
    "probability that an expert gets no token of a batch",
    latex=r"p_{\mathrm{idle}}",
    at_most=1,
)
b_exp = symbol("b_exp", "1", "mean tokens for one expert from a batch", latex=r"b_{\mathrm{exp}}")
q = symbol("q", "token/parameter", "compute-optimal training tokens per parameter", latex="q")
loss = symbol("loss", "1", "loss of a routed language model, nats per token", latex=r"\mathcal{L}")
log_loss = symbol(
    "log_loss", "1", "decimal logarithm of the loss of a routed model", latex=r"\log_{10} \mathcal{L}"
)
E_2 = symbol("E_2", "1", "experts in a layer of the model compared with", latex="E_2")
E_hat = symbol("E_hat", "1", "experts that count, after saturation", latex=r"\hat{E}")
E_hat2 = symbol("E_hat2", "1", "experts that count in the model compared with", latex=r"\hat{E}_2")
E_start = constant(
    "E_start",
    "1.847",
    "1",
    "experts at which routing starts to pay, S-BASE router",
    source="clark2022",
    latex=r"E_{\mathrm{start}}",
)
E_max = constant(
    "E_max",
    "314.478",
    "1",
    "experts at which routing saturates, S-BASE router",
    source="clark2022",
    latex=r"E_{\mathrm{max}}",
)
a_r = symbol("a_r", "1", "routed scaling law: slope in size", latex=r"a_{\mathrm{r}}")
b_r = symbol("b_r", "1", "routed scaling law: slope in experts", latex=r"b_{\mathrm{r}}")
c_r = symbol("c_r", "1", "routed scaling law: how size weakens the slope in experts", latex=r"c_{\mathrm{r}}")
d_r = symbol("d_r", "1", "routed scaling law: intercept", latex=r"d_{\mathrm{r}}")
N_cut = symbol("N_cut", "parameter", "size beyond which more experts stop paying", latex=r"N_{\mathrm{cut}}")
R_f = symbol("R_f", "token/second", "tokens per second that pass forward at peak", latex=r"R_{\mathrm{f}}")
tok = constant("tok", 1, "token", "one token")
a_j = constant(
    "a_j", "35.91", "1", "joint law: size term", source="ludziejewski2025", latex=r"a_{\mathrm{j}}"
)
alpha_j = constant(
    "alpha_j",
    "0.1889",
    "1",
    "joint law: exponent of size",
    source="ludziejewski2025",
    latex=r"\alpha_{\mathrm{j}}",
)
delta_j = constant(
    "delta_j",
    "0.2285",
    "1",
    "joint law: exponent of experts in the size term",
    source="ludziejewski2025",
    latex=r"\delta_{\mathrm{j}}",
)
gamma_j = constant(
    "gamma_j",
    "0.0098",
    "1",
    "joint law: how experts weaken size",
    source="ludziejewski2025",
    latex=r"\gamma_{\mathrm{j}}",
)
b_j = constant(
    "b_j", "35.98", "1", "joint law: data term", source="ludziejewski2025", latex=r"b_{\mathrm{j}}"
)
beta_j = constant(
    "beta_j",
    "0.1775",
    "1",
    "joint law: exponent of data",
    source="ludziejewski2025",
    latex=r"\beta_{\mathrm{j}}",
)
omega_j = constant(
    "omega_j",
    "0.5529",
    "1",
    "joint law: exponent of experts in the data term",
    source="ludziejewski2025",
    latex=r"\omega_{\mathrm{j}}",
)
zeta_j = constant(
    "zeta_j",
    "0.0259",
    "1",
    "joint law: how experts strengthen data",
    source="ludziejewski2025",
    latex=r"\zeta_{\mathrm{j}}",
)
c_j = constant(
    "c_j",
    "1.3637",
    "1",
    "joint law: loss that nothing removes",
    source="ludziejewski2025",
    latex=r"c_{\mathrm{j}}",
)

# ---- memory, traffic: parallelism, mqa, moe_inference --------------------------------------
kv = symbol("kv", "byte/token", "cache bytes of one token", latex=r"\kappa")
kv_bytes = symbol(
    "kv_bytes", "byte/token", "bytes of one entry of a token's key or value", latex=r"b_{\mathrm{kv}}"
)
Q_kv = symbol("Q_kv", "byte", "cache that one decode step reads", latex=r"Q_{\mathrm{kv}}")
N_fix = symbol("N_fix", "parameter", "parameters that every step reads", latex=r"N_{\mathrm{fix}}")
E_hit = symbol(
    "E_hit",
    "1",
    "experts of a layer with at least one token, mean over the layers",
    latex=r"E_{\mathrm{hit}}",
)
N_read = symbol("N_read", "parameter", "parameters that one step reads", latex=r"N_{\mathrm{read}}")
weight_bytes = symbol("weight_bytes", "byte/parameter", "bytes of one weight", latex=r"b_{\mathrm{w}}")
Q_w = symbol("Q_w", "byte", "weights that one step reads", latex=r"Q_{\mathrm{w}}")
ranks = symbol("ranks", "1", "ranks in a group", latex=r"n_{\mathrm{r}}")
n_tok = symbol("n_tok", "token", "tokens in one pass", latex=r"n_{\mathrm{tok}}")
act_bytes = symbol(
    "act_bytes", "byte/token", "bytes of one entry of a token's vector", latex=r"b_{\mathrm{act}}"
)
payload = symbol("payload", "byte", "bytes that a rank brings to a collective", latex="Z")
sent = symbol("sent", "byte", "bytes that a rank sends", latex="Y")
x_off = symbol(
    "x_off", "1", "share of a rank's data that other ranks want", latex=r"x_{\mathrm{off}}", at_most=1
)
N_rank = symbol("N_rank", "parameter", "parameters on one rank", latex=r"N_{\mathrm{r}}")
N_split = symbol("N_split", "parameter", "parameters divided among the ranks", latex=r"N_{\mathrm{split}}")
N_copy = symbol("N_copy", "parameter", "parameters that a rank holds whole", latex=r"N_{\mathrm{copy}}")
opt_bytes = symbol("opt_bytes", "byte/parameter", "optimiser state per parameter", latex=r"b_{\mathrm{opt}}")
Q_state = symbol(
    "Q_state", "byte", "weights, gradient and optimiser state on one rank", latex=r"Q_{\mathrm{state}}"
)
# ---- end of memory, traffic ----------------------------------------------------------------

# ---- dataset ------------------------------------------------------------------------------
D_pub = symbol("D_pub", "token", "tokens as published", latex=r"D_{\mathrm{pub}}")
T_pub = symbol("T_pub", "token", "context length as published", latex=r"T_{\mathrm{pub}}")
T_long = symbol("T_long", "token", "context length after fine-tuning", latex=r"T_{\mathrm{long}}")
x_ctx = symbol("x_ctx", "1", "longer context over shorter", latex=r"x_{\mathrm{ctx}}")
x_cost = symbol(
    "x_cost", "1", "FLOP of a token in the longer context over the shorter", latex=r"x_{\mathrm{cost}}"
)
epochs = symbol("epochs", "1", "epochs: passes over the same tokens", latex=r"n_{\mathrm{ep}}")
epochs_text = symbol("epochs_text", "1", "epochs of text", latex=r"n_{\mathrm{text}}")
epochs_code = symbol("epochs_code", "1", "epochs of code", latex=r"n_{\mathrm{code}}")
U = symbol("U", "token", "unique tokens")
U_text = symbol("U_text", "token", "unique tokens of text", latex=r"U_{\mathrm{text}}")
U_code = symbol("U_code", "token", "unique tokens of code", latex=r"U_{\mathrm{code}}")
x_code = symbol(
    "x_code", "1", "share of code in the tokens trained on", latex=r"x_{\mathrm{code}}", at_most=1
)
stock = symbol("stock", "token", "tokens of public text that exist", latex=r"U_{\mathrm{all}}")
x_stock = symbol("x_stock", "1", "text that exists over the text scraped", latex=r"x_{\mathrm{all}}")
R_star = constant(
    "R_star",
    "15.387756",
    "1",
    "repeats over which the worth of a token fades to 37%",
    source="muennighoff2023",
    latex=r"r^{*}",
)
D_eff = symbol(
    "D_eff", "token", "fresh tokens that the tokens trained on are worth", latex=r"D_{\mathrm{eff}}"
)
worth = symbol(
    "worth", "1", "worth of the tokens trained on, in fresh tokens", latex=r"x_{\mathrm{eff}}", at_most=1
)
ell = symbol("ell", "1", "loss of a dense language model, nats per token", latex=r"\ell")
ell_min = symbol("ell_min", "1", "loss that neither size nor data removes", latex=r"\ell_{\min}")
A = symbol("A", "1", "parametric law: coefficient of size", latex="A_N")
B = symbol("B", "1", "parametric law: coefficient of data", latex="B_D")
alpha = symbol("alpha", "1", "parametric law: exponent of size", latex=r"\alpha_{N}")
beta = symbol("beta", "1", "parametric law: exponent of data", latex=r"\beta_{D}")
b_D = symbol("b_D", "1", "exponent of the compute-optimal tokens", latex="b_D")
D_ref = symbol("D_ref", "token", "training tokens of the model compared with", latex=r"D_{\mathrm{ref}}")
N_eq = symbol(
    "N_eq", "parameter", "dense parameters that reach the loss of the routed model", latex=r"N_{\mathrm{eq}}"
)
n_steps = symbol("n_steps", "1", "optimiser steps", latex=r"n_{\mathrm{step}}")
B_0 = symbol("B_0", "token", "tokens in the first batch", latex="B_0")
D_ramp = symbol("D_ramp", "token", "tokens trained on while the batch grows", latex=r"D_{\mathrm{ramp}}")
x_ramp = symbol(
    "x_ramp", "1", "share of the run in which the batch grows", latex=r"x_{\mathrm{ramp}}", at_most=1
)
t_ramp = symbol("t_ramp", "second", "time in which the batch grows", latex=r"t_{\mathrm{ramp}}")
t_fill = symbol(
    "t_fill", "second", "time of each step in which the pipeline fills and drains", latex=r"t_{\mathrm{fill}}"
)
R_work = symbol(
    "R_work", "token/second", "tokens per second while every stage works", latex=r"R_{\mathrm{work}}"
)
B_exp = symbol("B_exp", "token", "tokens for one expert from a training batch", latex=r"B_{\mathrm{exp}}")
B_ref = symbol("B_ref", "token", "tokens in the batch compared with", latex=r"B_{\mathrm{ref}}")
x_batch = symbol("x_batch", "1", "batch over the batch compared with", latex=r"x_{\mathrm{batch}}")
B_star = constant(
    "B_star", "2e8", "token", "critical batch at a loss of one nat", source="kaplan2020", latex=r"B_{*}"
)
alpha_B = constant(
    "alpha_B", "0.21", "1", "exponent of the critical batch", source="kaplan2020", latex=r"\alpha_{B}"
)
B_crit = symbol(
    "B_crit", "token", "batch at which steps and tokens are traded evenly", latex=r"B_{\mathrm{crit}}"
)
x_waste = symbol("x_waste", "1", "tokens needed over the fewest possible", latex=r"x_{\mathrm{more}}")
# ---- end of dataset -----------------------------------------------------------------------

# ---- planner ------------------------------------------------------------------------------
mask_bytes = constant(
    "mask_bytes", 1, "byte/token", "bytes of one entry of a dropout mask", source="korthikanti2022"
)
logit_bytes = constant(
    "logit_bytes", 4, "byte/token", "bytes of one logit kept for the loss", source="korthikanti2022"
)
loss_bytes = constant(
    "loss_bytes",
    58,
    "byte/token",
    "bytes that the loss reads and writes per logit, forward and backward",
    source="megatron_lm",
)
k_back = constant(
    "k_back", 2, "1", "work of a backward pass over that of a forward pass", source="kaplan2020"
)
d_att = symbol(
    "d_att",
    "1",
    "entries of a token's queries, keys, values and mixed values in a layer",
    latex=r"d_{\mathrm{att}}",
)
d_mlp = symbol(
    "d_mlp", "1", "entries of a token's vectors inside the MLPs of a layer", latex=r"d_{\mathrm{mlp}}"
)
act_layer = symbol("act_layer", "byte", "activations that one layer keeps of one micro-batch", latex="A")
in_flight = symbol(
    "in_flight", "1", "micro-batches whose activations the first stage holds", latex=r"m_{\mathrm{fly}}"
)
Q_act = symbol("Q_act", "byte", "activations on a rank of the first stage", latex=r"Q_{\mathrm{act}}")
Q_edge = symbol("Q_edge", "byte", "activations of the embedding and of the loss", latex=r"Q_{\mathrm{edge}}")
Q_work = symbol(
    "Q_work", "byte", "what the one layer at work gathers or computes anew", latex=r"Q_{\mathrm{work}}"
)
Q_rank = symbol("Q_rank", "byte", "memory that a rank needs", latex=r"Q_{\mathrm{rank}}")
rows = symbol("rows", "1", "rows of a matrix product", latex=r"s_1")
inner = symbol("inner", "1", "inner side of a matrix product", latex=r"s_2")
columns = symbol("columns", "1", "columns of a matrix product", latex=r"s_3")
volume = symbol("volume", "1", "product of the three sides of a matrix product", latex="s^3")
half_side = symbol(
    "half_side", "1", "side of a cubic matrix product that reaches half the ceiling", latex=r"s_{1/2}"
)
ceiling = symbol(
    "ceiling",
    "1",
    "share of peak that an endless matrix product reaches",
    latex=r"\eta_{\mathrm{max}}",
    at_most=1,
)
transfer = symbol(
    "transfer",
    "1",
    "share of its data-sheet rate that memory or a link reaches",
    latex=r"\eta_{\beta}",
    at_most=1,
)
mem_rate = symbol("mem_rate", "byte/second/GPU", "memory rate of one GPU", latex=r"\beta_{\mathrm{mem}}")
C_mm = symbol("C_mm", "FLOP", "FLOP of one rank's matrix products", latex=r"C_{\mathrm{mm}}")
C_again = symbol(
    "C_again",
    "FLOP/token",
    "forward FLOP of a token that the backward pass repeats",
    latex=r"C_{\mathrm{again}}",
)
moved = symbol(
    "moved",
    "byte",
    "bytes that the kernels between the matrix products read and write",
    latex=r"Z_{\mathrm{mem}}",
)
passes = symbol("passes", "1", "times that a transfer is made for each micro-batch", latex="c")
node = symbol("node", "1", "GPUs in a node", latex=r"n_{\mathrm{node}}")
stride = symbol("stride", "1", "distance of neighbours in a group, in ranks", latex=r"\sigma")
overlap = symbol(
    "overlap", "1", "share of the covering work behind which a transfer hides", latex="o", at_most=1
)
t_mm = symbol("t_mm", "second", "time of the matrix products", latex=r"t_{\mathrm{mm}}")
t_mem = symbol(
    "t_mem", "second", "time of the kernels between the matrix products", latex=r"t_{\mathrm{mem}}"
)
t_comm = symbol("t_comm", "second", "time of a transfer", latex=r"t_{\mathrm{comm}}")
t_cover = symbol("t_cover", "second", "work that can hide a transfer", latex=r"t_{\mathrm{cover}}")
t_open = symbol("t_open", "second", "time of a transfer that nothing hides", latex=r"t_{\mathrm{open}}")
t_fwd = symbol(
    "t_fwd", "second", "forward pass of one micro-batch through one stage", latex=r"t_{\mathrm{fwd}}"
)
t_again = symbol(
    "t_again", "second", "forward work that the backward pass repeats", latex=r"t_{\mathrm{again}}"
)
t_work = symbol(
    "t_work",
    "second",
    "work on one micro-batch in one stage, forward and backward",
    latex=r"t_{\mathrm{work}}",
)
t_tensor = symbol(
    "t_tensor", "second", "open time of the tensor-parallel collectives", latex=r"t_{\mathrm{tp}}"
)
t_expert = symbol("t_expert", "second", "open time of dispatch and combine", latex=r"t_{\mathrm{ep}}")
t_hop = symbol("t_hop", "second", "open time of the transfers between stages", latex=r"t_{\mathrm{hop}}")
t_stage = symbol("t_stage", "second", "time of one micro-batch in one stage", latex=r"t_{\mathrm{stage}}")
t_head = symbol("t_head", "second", "time of logits and loss for one micro-batch", latex=r"t_{\mathrm{head}}")
t_pipe = symbol("t_pipe", "second", "time of all micro-batches in the pipeline", latex=r"t_{\mathrm{pipe}}")
t_data = symbol("t_data", "second", "open time of the data-parallel collectives", latex=r"t_{\mathrm{dp}}")
t_update = symbol("t_update", "second", "time of the optimiser", latex=r"t_{\mathrm{opt}}")
# ---- end of planner ------------------------------------------------------------------------

# ---- parallelism ---------------------------------------------------------------------------
S_old = symbol(
    "S_old", "token", "tokens of a context that an earlier pass computed", latex=r"S_{\mathrm{old}}"
)
Q_more = symbol(
    "Q_more", "byte", "activations, buffers and what a GPU keeps for itself", latex=r"Q_{\mathrm{more}}"
)
x_comm = symbol(
    "x_comm", "1", "time of a transfer over the time of the compute beside it", latex=r"x_{\mathrm{comm}}"
)
t_din = symbol(
    "t_din", "second", "gradient of the inputs, one micro-batch in one stage", latex=r"t_{\mathrm{dx}}"
)
t_dw = symbol(
    "t_dw", "second", "gradient of the weights, one micro-batch in one stage", latex=r"t_{\mathrm{dw}}"
)
latency = symbol("latency", "second", "time of an empty message", latex=r"t_{\mathrm{msg}}")
islands = symbol("islands", "1", "islands that slower links join", latex=r"n_{\mathrm{isl}}")
local = symbol("local", "1", "ranks of a group in one island", latex=r"n_{\mathrm{loc}}")
# ---- end of parallelism --------------------------------------------------------------------

# ---- dense wall ----------------------------------------------------------------------------
minute = constant("minute", 60, "second", "one minute")
thousand = constant("thousand", 1000, "token", "a thousand tokens")
wpm = symbol("wpm", "1", "words read in a minute", latex="v_{60}")
wpm_pub = symbol("wpm_pub", "1", "words read in a minute, as published", latex=r"v_{\mathrm{pub}}")
tok_word = symbol("tok_word", "token", "tokens of a word", latex=r"\tau_{\mathrm{w}}")
chars_word = symbol("chars_word", "1", "characters of a word, its space included", latex=r"c_{\mathrm{w}}")
chars_tok = symbol("chars_tok", "1", "characters of a token", latex=r"c_{\mathrm{tok}}")
overhead = symbol("overhead", "1", "time of a step over the time of its weight reads", latex=r"\omega")
x_read = symbol("x_read", "1", "times that each weight is read for one token", latex=r"x_{\mathrm{read}}")
bandwidth = symbol(
    "bandwidth", "byte/second", "memory rate needed, all GPUs together", latex=r"\beta_{\mathrm{all}}"
)
mem = symbol("mem", "byte/GPU", "memory of one GPU", latex=r"Q_{\mathrm{GPU}}")
x_mem = symbol("x_mem", "1", "weights over the memory that is to hold them", latex=r"x_{\mathrm{mem}}")
C_ref = symbol("C_ref", "FLOP", "training compute of the model compared with", latex=r"C_{\mathrm{ref}}")
x_C = symbol("x_C", "1", "training compute over that of another model", latex="x_C")
M_pub = symbol("M_pub", "USD", "sum as published", latex=r"M_{\mathrm{pub}}")
c_tok = symbol("c_tok", "USD/token", "price or cost of one served token", latex=r"c_{\mathrm{tok}}^{\$}")
users = symbol("users", "1", "people who use the service", latex=r"n_{\mathrm{user}}")
tok_user = symbol(
    "tok_user", "token/second", "tokens served to one user per second, all day", latex=r"R_{\mathrm{user}}"
)
R_serve = symbol(
    "R_serve", "token/second", "tokens served per second to all users", latex=r"R_{\mathrm{serve}}"
)
x_serve = symbol("x_serve", "1", "cost of serving over cost of training", latex=r"x_{\mathrm{serve}}")
D_serve = symbol(
    "D_serve", "token", "served tokens that cost as much as training", latex=r"D_{\mathrm{serve}}"
)
# ---- end of dense wall ---------------------------------------------------------------------
# ---- batching ------------------------------------------------------------------------------
n_own = symbol("n_own", "1", "steps that one sequence runs", latex=r"n_{\mathrm{own}}")
n_mean = symbol("n_mean", "1", "steps of a sequence, mean", latex=r"\bar{n}")
n_long = symbol(
    "n_long", "1", "steps of the longest sequence of a batch, mean over the batches", latex=r"n_{\max}"
)
x_own = symbol(
    "x_own", "1", "share of its batch's steps that a sequence runs", latex=r"x_{\mathrm{own}}", at_most=1
)
x_static = symbol(
    "x_static", "1", "share of slot time that static batching uses", latex=r"x_{\mathrm{stat}}", at_most=1
)
x_gain = symbol("x_gain", "1", "output of continuous over static batching", latex=r"x_{\mathrm{gain}}")
gamma_E = constant(
    "gamma_E",
    "0.5772156649015329",
    "1",
    "Euler's constant: harmonic sum less logarithm",
    latex=r"\gamma_{\mathrm{E}}",
)
load = symbol("load", "1", "share of time that a server works", latex=r"x_{\mathrm{load}}", at_most=1)
R_in = symbol("R_in", "1/second", "requests that arrive per second", latex=r"\lambda_{\mathrm{in}}")
t_serve = symbol("t_serve", "second", "time to serve one request, mean", latex=r"t_{\mathrm{serve}}")
cv = symbol("cv", "1", "standard deviation of the service time over its mean", latex=r"c_{\mathrm{v}}")
t_wait = symbol("t_wait", "second", "wait before service, mean", latex=r"t_{\mathrm{wait}}")
t_stay = symbol("t_stay", "second", "time from arrival to the last token, mean", latex=r"t_{\mathrm{stay}}")
n_there = symbol("n_there", "1", "requests in the system, mean", latex=r"n_{\mathrm{req}}")
n_gpu_1 = constant("n_gpu_1", 1, "GPU", "one GPU")
t_fix = symbol(
    "t_fix", "second", "part of a step that does not depend on the batch", latex=r"t_{\mathrm{fix}}"
)
t_seq = symbol("t_seq", "second", "part of a step that each sequence adds", latex=r"t_{\mathrm{seq}}")
t_iter = symbol("t_iter", "second", "time of one step of the batch", latex=r"t_{\mathrm{iter}}")
R_out = symbol("R_out", "token/second", "tokens put out per second", latex=r"R_{\mathrm{out}}")
# ---- end of batching -----------------------------------------------------------------------

# ---- serving model ---------------------------------------------------------------------------
ep = symbol(
    "ep",
    "1",
    "tensor-parallel groups over which the experts of a stage are spread",
    latex=r"n_{\mathrm{grp}}",
)
cache_ranks = symbol(
    "cache_ranks", "1", "ranks over which a stage's cache is divided, without copies", latex=r"n_{\mathrm{c}}"
)
usable = symbol(
    "usable", "1", "share of a GPU's memory for weights and cache", latex=r"x_{\mathrm{use}}", at_most=1
)
Q_left = symbol(
    "Q_left", "byte", "memory of one GPU that the weights leave to the cache", latex=r"Q_{\mathrm{left}}"
)
N_held = symbol("N_held", "parameter", "parameters held outside the experts", latex=r"N_{\mathrm{held}}")
intensity = symbol("intensity", "FLOP/byte", "FLOP for each byte read", latex="I")
ridge = symbol(
    "ridge", "FLOP/byte", "intensity at which compute and memory take equally long", latex=r"I^{*}"
)
t_layer = symbol(
    "t_layer",
    "second",
    "time that a layer adds whatever its size: launches, synchronisation",
    latex=r"t_{\mathrm{layer}}",
)
t_core = symbol(
    "t_core", "second", "time of a pass in memory and matrix products", latex=r"t_{\mathrm{core}}"
)
t_split = symbol(
    "t_split",
    "second",
    "time of moving queries and mixed values where the cache is divided by sequences",
    latex=r"t_{\mathrm{split}}",
)
t_pass = symbol("t_pass", "second", "time of one pass through all layers", latex=r"t_{\mathrm{pass}}")
turns = symbol(
    "turns", "1", "passes' worth of time between two tokens of one sequence", latex=r"n_{\mathrm{turn}}"
)
C_pass = symbol("C_pass", "FLOP", "FLOP of one pass", latex=r"C_{\mathrm{pass}}")
links = symbol("links", "1", "links of a chip", latex=r"n_{\ell}")
torus_x = symbol("torus_x", "1", "chips that divide the model width", latex="X")
torus_yz = symbol("torus_yz", "1", "chips that divide the inner widths", latex="X'")
links_x = symbol(
    "links_x", "1", "links of a chip in the axis that divides the model width", latex=r"n_{\ell,X}"
)
links_yz = symbol(
    "links_yz", "1", "links of a chip in the axes that divide the inner widths", latex=r"n_{\ell,X'}"
)
# ---- end of serving model --------------------------------------------------------------------
# ---- inference trade-offs --------------------------------------------------------------------
C_w = symbol("C_w", "FLOP", "FLOP for each weight read", latex=r"C_{\mathrm{w}}")
mem_pub = symbol(
    "mem_pub", "byte/second/GPU", "memory rate of one GPU by its data sheet", latex=r"\beta_{\mathrm{pub}}"
)
F_pub = symbol(
    "F_pub", "FLOP/second/GPU", "dense peak of one GPU by its data sheet", latex=r"F_{\mathrm{pub}}"
)
x_ridge = symbol(
    "x_ridge", "1", "time to read the weights over time to compute with them", latex=r"x_{\mathrm{ridge}}"
)
x_busy = symbol(
    "x_busy",
    "1",
    "share of the reading time in which the arithmetic is at work",
    latex=r"x_{\mathrm{busy}}",
    at_most=1,
)
B_ridge = symbol(
    "B_ridge",
    "1",
    "positions of a pass at which computing takes as long as reading all weights",
    latex=r"B^{*}",
)
x_cap = symbol(
    "x_cap",
    "1",
    "batch that memory allows over the batch that fills the arithmetic",
    latex=r"x_{\mathrm{cap}}",
)
g_n = symbol("g_n", "1", "GPUs over GPUs before", latex=r"g_{\mathrm{n}}")
x_room = symbol(
    "x_room", "1", "memory left to the cache on each GPU, over that before", latex=r"x_{\mathrm{room}}"
)
x_chips = symbol(
    "x_chips", "1", "lesser of the gains in speed and in room that more GPUs bring", latex=r"x_{\mathrm{GPU}}"
)
x_scale = symbol(
    "x_scale",
    "1",
    "growth of communication over growth of compute as GPUs are added",
    latex=r"x_{\mathrm{scale}}",
)
x_kv = symbol("x_kv", "1", "cache over weights", latex=r"x_{\mathrm{kv}}")
S_long = symbol("S_long", "token", "longer context", latex=r"S_{\mathrm{long}}")
x_dear = symbol(
    "x_dear", "1", "cost of a token over that with the shorter context", latex=r"x_{\mathrm{dear}}"
)
t_one = symbol("t_one", "second", "time of the pass compared with", latex=r"t_{\mathrm{ref}}^{\mathrm{pass}}")
mfu_one = symbol(
    "mfu_one",
    "1",
    "utilisation of the pass compared with",
    latex=r"\eta_{\mathrm{ref}}^{\mathrm{pass}}",
    at_most=1,
)
x_trade = symbol(
    "x_trade", "1", "lesser of the growth of utilisation and of latency", latex=r"x_{\mathrm{trade}}"
)
x_prop = symbol(
    "x_prop", "1", "ratio of two times over the ratio of size per GPU", latex=r"x_{\mathrm{prop}}"
)
# ---- end of inference trade-offs -------------------------------------------------------------

# ---- MoE inference ---------------------------------------------------------------------------
var_hit = symbol(
    "var_hit",
    "1",
    "variance of the experts of a layer that a batch reaches",
    latex=r"\sigma^2_{\mathrm{hit}}",
)
p_all = symbol(
    "p_all",
    "1",
    "probability that some expert of a layer gets every token of the batch",
    latex=r"p_{\mathrm{all}}",
    at_most=1,
)
z_max = symbol("z_max", "1", "largest of E standard normal numbers, mean", latex=r"z_{\max}")
b_max = symbol("b_max", "1", "tokens of the busiest expert of a layer, mean", latex=r"b_{\max}")
x_bal = symbol("x_bal", "1", "tokens of the busiest expert over the mean", latex=r"x_{\mathrm{bal}}")
L_free = symbol("L_free", "1", "layers that route independently of each other", latex=r"L_{\mathrm{free}}")
x_jit = symbol(
    "x_jit",
    "1",
    "standard deviation of the weights that a step reads over their mean",
    latex=r"x_{\mathrm{jit}}",
    at_most=1,
)
Q_tok = symbol("Q_tok", "byte/token", "bytes read for each token put out", latex=r"Q_{\mathrm{tok}}")
N_node = symbol("N_node", "parameter", "parameters on one node", latex=r"N_{\mathrm{node}}")
l_node = symbol("l_node", "1", "layers on one node", latex=r"\ell_{\mathrm{node}}")
l_head = symbol("l_head", "1", "layers left for the head node", latex=r"\ell_{\mathrm{head}}")
l_emb = symbol(
    "l_emb", "1", "layers that the vocabulary tables weigh as much as", latex=r"\ell_{\mathrm{emb}}"
)
l_guess = symbol(
    "l_guess", "1", "layers that the draft model's reads weigh as much as", latex=r"\ell_{\mathrm{draft}}"
)
n_guess = symbol(
    "n_guess", "1", "passes of the draft model for each pass of the large one", latex=r"n_{\mathrm{draft}}"
)
x_small = symbol(
    "x_small",
    "1",
    "parameters of the draft model over those that it drafts for",
    latex=r"x_{\mathrm{small}}",
    at_most=1,
)
x_fill = symbol(
    "x_fill", "1", "weights and cache over the memory that is to hold them", latex=r"x_{\mathrm{fill}}"
)
copies = symbol("copies", "1", "copies of each cache entry in a node", latex=r"n_{\mathrm{copy}}")
B_fly = symbol("B_fly", "1", "sequences in flight in the whole cluster", latex=r"B_{\mathrm{fly}}")
x_own_kv = symbol(
    "x_own_kv",
    "1",
    "share of the key and value matrices that belong to single experts",
    latex=r"x_{\mathrm{own}}^{\mathrm{kv}}",
    at_most=1,
)
S_stale = symbol(
    "S_stale",
    "token",
    "cached tokens that another choice of experts makes useless",
    latex=r"S_{\mathrm{stale}}",
)
N_ff = symbol(
    "N_ff", "parameter", "parameters in the MLPs of the model compared with", latex=r"N_{\mathrm{ff}}"
)
x_ff = symbol(
    "x_ff", "1", "MLP parameters at work over those of the model compared with", latex=r"x_{\mathrm{ff}}"
)
c_ref = symbol(
    "c_ref", "USD/token", "price of a token of the model compared with", latex=r"c_{\mathrm{ref}}^{\$}"
)
x_price = symbol("x_price", "1", "price or cost of a token over that of another model", latex=r"x_{\$}")
x_util = symbol("x_util", "1", "utilisation of the model compared with over ours", latex=r"x_{\eta}")
load_day = symbol("load_day", "1", "mean load of a day over its peak", latex=r"x_{\mathrm{day}}", at_most=1)
swing = symbol("swing", "1", "height of a cosine day over its mean", latex="a", at_most=1)
x_idle = symbol(
    "x_idle",
    "1",
    "cost of a token with every cluster on all day over cost with clusters that follow the load",
    latex=r"x_{\mathrm{idle}}",
)
# ---- end of MoE inference --------------------------------------------------------------------
# ---- mqa -----------------------------------------------------------------------------------
x_heads = symbol(
    "x_heads",
    "1",
    "cache with a key and value for every query head over the cache as it is",
    latex=r"x_{\mathrm{heads}}",
)
Q_score = symbol(
    "Q_score",
    "byte",
    "attention scores of one layer on one GPU, if they are stored",
    latex=r"Q_{\mathrm{score}}",
)
n_single = symbol("n_single", "1", "published models with a single key-value head", latex=r"n_{\mathrm{one}}")
n_models = symbol("n_models", "1", "published models whose heads are known", latex=r"n_{\mathrm{model}}")
x_single = symbol(
    "x_single",
    "1",
    "share of the models that have a single key-value head",
    latex=r"x_{\mathrm{one}}",
    at_most=1,
)
# ---- end of mqa ----------------------------------------------------------------------------

# ---- speculative decoding ------------------------------------------------------------------
accept_len = symbol(
    "accept_len", "1", "acceptance under the relaxed rule", latex=r"\alpha_{\mathrm{r}}", at_most=1
)
accept = symbol(
    "accept",
    "1",
    "acceptance: probability that a draft token is kept, all before it kept",
    latex=r"\alpha",
    at_most=1,
)
lenience = symbol(
    "lenience",
    "1",
    "lenience: 1 is the exact rule, less keeps more drafts",
    latex=r"\ell_{\mathrm{r}}",
    at_most=1,
)
gamma = symbol("gamma", "1", "draft length: draft tokens of one round", latex=r"\gamma")
c_draft = symbol(
    "c_draft", "1", "time of one draft token over the time of one oracle pass", latex=r"c_{\mathrm{d}}"
)
c_alone = symbol(
    "c_alone", "1", "time of one draft token over an oracle pass, drafting plainly", latex=r"c_{0}"
)
c_work = symbol(
    "c_work", "1", "FLOP of one draft token over those of one oracle token", latex=r"c_{\mathrm{FLOP}}"
)
v_check = symbol(
    "v_check", "1", "time of a checking pass over the time of a plain pass", latex=r"v_{\mathrm{c}}"
)
n_round = symbol("n_round", "1", "tokens of one round, mean", latex=r"\bar{n}_{\mathrm{r}}")
p_run = symbol(
    "p_run", "1", "probability that every draft of a round is kept", latex=r"p_{\gamma}", at_most=1
)
x_late = symbol(
    "x_late",
    "1",
    "tokens that as many drafts again add, over what the first drafts add",
    latex=r"x_{\mathrm{late}}",
    at_most=1,
)
x_next = symbol("x_next", "1", "speed-up with one draft more over the speed-up without it", latex=r"x_{+1}")
x_spec = symbol(
    "x_spec", "1", "speed-up: tokens per second with drafts over without", latex=r"x_{\mathrm{spec}}"
)
x_inner = symbol("x_inner", "1", "speed-up of the draft by a draft of its own", latex=r"x_{\mathrm{in}}")
x_work = symbol("x_work", "1", "FLOP per token with drafts over without", latex=r"x_{\mathrm{work}}")
x_bytes = symbol(
    "x_bytes", "1", "weights read per token with drafts over without", latex=r"x_{\mathrm{byte}}"
)
x_tv = symbol(
    "x_tv",
    "1",
    "total variation between what the rule puts out and the oracle",
    latex=r"d_{\mathrm{TV}}",
    at_most=1,
)
x_peak = symbol(
    "x_peak", "1", "share of peak that reading the weights allows", latex=r"x_{\mathrm{peak}}", at_most=1
)
x_prompt = symbol(
    "x_prompt",
    "1",
    "time of a lone decoded token over the time of a token of its prompt",
    latex=r"x_{\mathrm{pre}}",
)
n_in = symbol("n_in", "token", "tokens of a prompt", latex=r"n_{\mathrm{in}}")
n_out = symbol("n_out", "token", "tokens of an answer", latex=r"n_{\mathrm{out}}")
x_out = symbol(
    "x_out", "1", "share of a request's time that decoding takes", latex=r"x_{\mathrm{out}}", at_most=1
)
c_in = symbol("c_in", "USD/token", "price of a token of the prompt", latex=r"c_{\mathrm{in}}")
x_pay = symbol(
    "x_pay", "1", "price of an output token over that of an input token", latex=r"x_{\mathrm{pay}}"
)
B_dead = symbol("B_dead", "1", "sequences of a pass at which drafts stop paying", latex=r"B_{\mathrm{dead}}")
p_long = symbol(
    "p_long", "1", "probability that twice as many tokens are all kept", latex=r"p_{2\gamma}", at_most=1
)
x_double = symbol(
    "x_double", "1", "logarithm of that probability over that of the shorter run", latex=r"x_{\ln}"
)
bits = symbol("bits", "1", "bits for each character of real text under the exact rule", latex="H")
bits_len = symbol(
    "bits_len", "1", "bits for each character of real text under the relaxed rule", latex=r"H_{\mathrm{r}}"
)
x_bits = symbol(
    "x_bits",
    "1",
    "bits for each character under the relaxed rule over those under the exact one",
    latex="x_{H}",
)
# ---- end of speculative decoding -----------------------------------------------------------

# ---- vision io -----------------------------------------------------------------------------
char_bytes = constant("char_bytes", 1, "byte", "bytes of one ASCII character")
k_frozen = constant(
    "k_frozen",
    4,
    "FLOP/parameter/token",
    "training FLOP of a frozen parameter: 2 forward, 2 for the gradient of its inputs",
    source="kaplan2020",
)
side = symbol("side", "1", "side of a square patch, in pixels", latex=r"s_{\mathrm{px}}")
height = symbol("height", "1", "height of an image, in pixels", latex=r"h_{\mathrm{px}}")
width = symbol("width", "1", "width of an image, in pixels", latex=r"w_{\mathrm{px}}")
chroma = symbol("chroma", "1", "pixels that share one pair of colour samples", latex=r"s_{\mathrm{col}}")
sample_bytes = symbol(
    "sample_bytes", "byte", "bytes of one sample: brightness or colour", latex=r"b_{\mathrm{smp}}"
)
px_bytes = symbol("px_bytes", "byte", "bytes of one pixel", latex=r"b_{\mathrm{px}}")
tok_img = symbol("tok_img", "token", "visual tokens of one image", latex=r"T_{\mathrm{img}}")
n_images = symbol("n_images", "1", "images", latex=r"n_{\mathrm{img}}")
b_vis = symbol("b_vis", "byte/token", "bytes of one visual token", latex=r"b_{\mathrm{vis}}")
b_text = symbol("b_text", "byte/token", "bytes of one text token", latex=r"b_{\mathrm{text}}")
b_in = symbol("b_in", "byte/token", "bytes of one token as it is loaded", latex=r"b_{\mathrm{in}}")
word_bytes = symbol("word_bytes", "byte", "bytes of a word, its space included", latex=r"b_{\mathrm{word}}")
pack_vis = symbol(
    "pack_vis", "1", "raw bytes of an image over its bytes in the file", latex=r"z_{\mathrm{vis}}"
)
pack_text = symbol(
    "pack_text", "1", "raw bytes of a text over its bytes in the file", latex=r"z_{\mathrm{text}}"
)
x_io = symbol("x_io", "1", "bytes of a visual token over those of a text token", latex=r"x_{\mathrm{io}}")
Q_store = symbol("Q_store", "byte", "bytes stored", latex=r"Q_{\mathrm{store}}")
rent_store = symbol("rent_store", "USD/byte/second", "price of storage", latex=r"r_{\mathrm{store}}")
flow = symbol("flow", "byte/second", "bytes that the whole cluster loads per second", latex=r"\phi")
flow_server = symbol(
    "flow_server", "byte/second", "bytes that one server loads per second", latex=r"\phi_{\mathrm{srv}}"
)
flow_gpu = symbol(
    "flow_gpu", "byte/second/GPU", "bytes that one GPU takes in per second", latex=r"\phi_{\mathrm{GPU}}"
)
feed = symbol(
    "feed", "byte/second", "rate of the path by which one server loads", latex=r"\beta_{\mathrm{feed}}"
)
x_feed = symbol("x_feed", "1", "share of a server's path that loading takes", latex=r"x_{\mathrm{feed}}")
t_dec = symbol("t_dec", "second", "time in which one core decodes one image", latex=r"t_{\mathrm{dec}}")
n_core = symbol("n_core", "1", "cores that decode for the whole cluster", latex=r"n_{\mathrm{core}}")
every = symbol(
    "every", "1", "layers of the language model for each cross-attention block", latex=r"L_{\times}"
)
n_x = symbol("n_x", "1", "cross-attention blocks", latex=r"n_{\times}")
d_vis = symbol("d_vis", "1", "width of a visual token where the blocks read it", latex=r"d_{\mathrm{vis}}")
N_x = symbol("N_x", "parameter", "parameters of the cross-attention blocks", latex=r"N_{\times}")
N_ask = symbol(
    "N_ask", "parameter", "part of the blocks that works on a text token", latex=r"N_{\mathrm{ask}}"
)
N_see = symbol(
    "N_see", "parameter", "part of the blocks that works on a visual token", latex=r"N_{\mathrm{see}}"
)
C_x = symbol("C_x", "FLOP/token", "forward FLOP that the blocks add to a text token", latex=r"C_{\times}")
x_add = symbol("x_add", "1", "FLOP added over FLOP of the text model", latex=r"x_{\times}")
# ---- end of vision io ----------------------------------------------------------------------
