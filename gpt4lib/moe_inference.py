"""Mixture-of-experts inference: the weights that a step reads, given the experts that its tokens reach."""

from __future__ import annotations

from .law import Law
from .symbols import B_seq, E, E_hit, N_exp, N_fix, N_read, Q_w, k, weight_bytes

# ---- experts reached ----------------------------------------------------------------------
experts_hit = Law(E_hit, E * (1 - (1 - k / E) ** B_seq), "Distinct experts that a batch reaches, uniform routing, mean")

# ---- weights read -------------------------------------------------------------------------
parameters_read = Law(N_read, N_fix + E_hit * N_exp, "Parameters that a step reads")
weights_read = Law(Q_w, weight_bytes * N_read, "Weights that a step reads")
weights_read_of_experts = weights_read.given(parameters_read)
