"""From a file that describes a case to the full report on it."""
