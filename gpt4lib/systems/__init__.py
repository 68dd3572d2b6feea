"""Whole machines, by the laws: counts, training steps, layouts, serving."""
