// Put the live chart in place of its picture when the reader comes near. The picture stays where this cannot run.
(() => {
  const dark = () => document.documentElement.dataset.theme === "dark";

  function colours() {
    const text = dark() ? "#e6e6e6" : "#1f2328", line = dark() ? "#5a6370" : "#c9ced6";
    return {
      background: "transparent",
      style: { "guide-label": { fill: text }, "guide-title": { fill: text } },
      title: { color: text },
      axis: { domainColor: text, tickColor: text, gridColor: line },
      legend: { labelColor: text, titleColor: text },
      text: { color: text }, rule: { color: text }, view: { stroke: line },
    };
  }

  // A slider without a label is no use to a keyboard or a screen reader.
  function label(box) {
    for (const input of box.querySelectorAll(".vega-bind input, .vega-bind select")) {
      const name = input.closest(".vega-bind").querySelector(".vega-bind-name");
      input.setAttribute("aria-label", name ? name.textContent : input.name);
    }
  }

  // The sliders' values, so that a change of theme keeps what the reader has set.
  function signals(view) {
    const values = view.getState({ signals: (name) => !/^(width|height|unit|data|.*_(tuple|modify|toggle|store).*)$/.test(name) }).signals;
    return Object.entries(values).filter(([, value]) => ["number", "string", "boolean"].includes(typeof value));
  }

  // A workbench starts from a known model: a choice that moves all sliders at once.
  function presets(box, view) {
    const known = (box.spec.usermeta || {}).presets || [];
    if (!known.length) return;
    const [row, label, name, choice] = ["div", "label", "span", "select"].map((tag) => document.createElement(tag));
    row.className = "vega-bind";
    name.className = "vega-bind-name";
    name.textContent = "start from";
    for (const preset of known) choice.add(new Option(preset.name));
    if (box.preset) choice.value = box.preset;
    choice.addEventListener("change", () => {
      box.preset = choice.value;
      for (const [signal, value] of Object.entries(known[choice.selectedIndex].settings)) view.signal(signal, value);
      view.runAsync();
    });
    label.append(name, choice);
    row.append(label);
    box.classList.add("workbench");
    box.querySelector(".vega-bindings").prepend(row);
  }

  async function draw(box, keep = []) {
    const spec = JSON.parse(box.querySelector("script").textContent);
    delete spec.$schema;  // it names the version for JupyterLab; the one here is newer
    const single = spec.mark || spec.layer;
    const stage = box.querySelector(".gpt4-chart-live") || box.appendChild(document.createElement("div"));
    stage.className = "gpt4-chart-live";
    if (single) Object.assign(spec, { width: box.clientWidth, autosize: { type: "fit", contains: "padding" } });
    const result = await vegaEmbed(stage, spec, { actions: false, renderer: "canvas", config: colours() });
    box.querySelector("img").hidden = true;
    for (const [name, value] of keep) result.view.signal(name, value);
    await result.view.runAsync();
    label(stage);
    const canvas = stage.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", spec.description || box.querySelector("img").alt);
    box.view = result.view;
    box.spec = spec;
    presets(box, result.view);
    box.redraw = async () => { const set = signals(box.view); result.finalize(); await draw(box, set); };
    let drawn = box.clientWidth;
    if (single) box.resize = () => {
      if (box.clientWidth === drawn) return;
      drawn = box.clientWidth;
      box.view.width(drawn).runAsync();
    };
  }

  const boxes = [...document.querySelectorAll(".gpt4-chart")];
  let vega;

  // One chart at a time, each once; Vega comes with the first.
  function show(box) {
    box.shown = box.shown || (vega = (vega || book.script("vega.js")).then(() => draw(box)).catch(console.error));
    return box.shown;
  }

  book.bring.push(() => Promise.all(boxes.map(show)));
  book.whenNear(boxes, show);
  new MutationObserver(() => boxes.forEach((box) => box.redraw && box.redraw()))
    .observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  // The box, not the window: a sidebar that slides in changes it later than the window does.
  const sized = new ResizeObserver((seen) => seen.forEach(({ target }) => target.resize && target.resize()));
  boxes.forEach((box) => sized.observe(box));
})();
