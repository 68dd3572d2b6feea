"""The described system, running in miniature: plain NumPy, seeded weights, every product and transfer counted."""
