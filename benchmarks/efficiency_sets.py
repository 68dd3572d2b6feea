"""Fit every set of `gpt4lib/data/efficiency.csv` anew and print the file with what was found.

python benchmarks/efficiency_sets.py > gpt4lib/data/efficiency.csv
"""

import csv
import sys

from gpt4lib.facts.files import read_csv
from gpt4lib.systems.efficiency import fitted_anew


def main():
    """Print the file."""
    rows = read_csv("efficiency.csv")
    writer = csv.DictWriter(sys.stdout, rows[0], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        found = {key: "" if x is None else repr(x) for key, x in fitted_anew(row["name"]).items()}
        writer.writerow(row | found)


if __name__ == "__main__":
    main()
