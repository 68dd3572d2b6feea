"""Second routes to the laws' numbers: simulations and counts that know no law."""
