// Heavy things come when the reader is near them: pictures, equations (MathJax) and charts (Vega).
// `book.everything()` brings them all, for paper and for tests.
window.book = (() => {
  const root = document.documentElement.dataset.content_root || "./";
  const bring = [];

  function script(name) {
    return new Promise((done, failed) => {
      const tag = document.createElement("script");
      Object.assign(tag, { src: `${root}_static/${name}`, onload: done, onerror: failed });
      document.head.append(tag);
    });
  }

  // Call `act` once for each node that comes within two screens of the reader.
  function whenNear(nodes, act) {
    const watch = new IntersectionObserver((seen) => {
      for (const { isIntersecting, target } of seen) {
        if (isIntersecting) { watch.unobserve(target); act(target); }
      }
    }, { rootMargin: "100% 0px" });
    nodes.forEach((node) => watch.observe(node));
  }

  bring.push(() => Promise.all([...document.images].map((image) => {
    image.loading = "eager";
    return image.decode().catch(() => null);
  })));

  const everything = () => Promise.all(bring.map((act) => act()));
  addEventListener("beforeprint", everything);
  return { script, whenNear, everything, bring };
})();

// Equations.
(() => {
  const math = [...document.querySelectorAll("article .math")];
  if (!math.length) return;
  let loading;
  function load() {
    if (!loading) {
      const given = window.MathJax || {};
      window.MathJax = { ...given, loader: { load: ["ui/lazy"] }, options: { ...given.options, lazyMargin: "400px" } };
      loading = book.script("mathjax/tex-svg.js").then(() => MathJax.startup.promise);
    }
    return loading;
  }
  book.bring.push(() => load().then(() => MathJax.startup.document.lazyTypesetAll()));
  book.whenNear(math, load);
})();

// What is wider than the page scrolls inside itself; the keyboard must reach it too.
(() => {
  const wide = "div.math, .table-scroll, .pst-scrollable-table-container, .output pre, div.highlight pre";
  let waiting;
  const reach = () => {
    for (const box of document.querySelectorAll(wide)) {
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(reach, 100); };
  addEventListener("load", reach);
  addEventListener("resize", soon);
  new MutationObserver(soon).observe(document.querySelector("article") || document.body, { childList: true, subtree: true });
  book.bring.push(() => new Promise((done) => setTimeout(() => { reach(); done(); }, 150)));
})();
