"""Milliseconds from a slider's input event to the finished redraw, in Chromium, for every chart of the site.

    python benchmarks/slider_redraw.py [moves]

Needs the built site (`make book`). The target is under 50 ms; exits 1 where a chart's median misses it.
"""

import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
from browser import chromium, find_chromium  # noqa: E402

TARGET = 50
MEASURE = """async ([chart, moves]) => {
  const times = [], sliders = [...chart.querySelectorAll("input[type=range]")];
  for (let move = 0; move < moves; move++) {
    const slider = sliders[move % sliders.length], [lo, hi] = [+slider.min, +slider.max];
    slider.value = lo + (hi - lo) * ((move * 0.37) % 1);
    const start = performance.now();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await chart.view.runAsync();
    times.push(performance.now() - start);
    await new Promise(requestAnimationFrame);
  }
  return times;
}"""


def measure(moves=60):
    """(page, number of the chart, milliseconds of each move) for every chart."""
    with chromium() as browser:
        for path in sorted((ROOT / "_build" / "html").glob("*/*.html")):
            if "gpt4-chart" not in path.read_text("utf-8"):
                continue
            page = browser.new_page()
            page.goto(path.as_uri())
            page.wait_for_function("document.documentElement.dataset.charts === 'ready'")
            for number, chart in enumerate(page.query_selector_all(".gpt4-chart"), 1):
                yield path.stem, number, page.evaluate(MEASURE, [chart, moves])
            page.close()


def main():
    """Print median and worst time of each chart."""
    if find_chromium() is None:
        sys.exit("no Chromium found")
    slow = False
    for page, number, times in measure(int(sys.argv[1]) if len(sys.argv) > 1 else 60):
        median = statistics.median(times)
        slow |= median >= TARGET
        spread = f"median {median:.1f} ms, worst {max(times):.1f} ms"
        print(f"{page} chart {number}: {spread} over {len(times)} moves")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
