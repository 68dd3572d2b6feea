// What is wider than the page scrolls inside itself; the keyboard must reach it too.
(() => {
  const wide = "div.math, .table-scroll, .pst-scrollable-table-container, .output pre, div.highlight pre";
  const reach = () => {
    for (const box of document.querySelectorAll(wide)) {
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  addEventListener("load", reach);
  addEventListener("resize", reach);
  if (window.MathJax && MathJax.startup) MathJax.startup.promise.then(reach);
})();
