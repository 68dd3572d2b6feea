// A long table, such as the ledger: search, filters, sorting, permalinks. Without this script it stays a plain table.
(() => {
  const table = document.querySelector("table.sheet");
  if (!table) return;
  const rows = [...table.tBodies[0].rows];
  const heads = [...table.tHead.rows[0].cells];
  const column = (name) => heads.findIndex((head) => head.textContent.trim().toLowerCase() === name);
  const text = (row, index) => row.cells[index] ? row.cells[index].textContent.trim() : "";

  function element(tag, attributes, ...children) {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  }

  // A cell may say in data-filter what it is filtered by (a verdict without its symbol).
  const key = (row, index) => (row.cells[index].dataset.filter || text(row, index));

  function choice(name) {
    const index = column(name);
    const select = element("select", { id: `sheet-${name}` }, element("option", { value: "" }, "all"));
    for (const value of [...new Set(rows.map((row) => key(row, index)))].sort())
      select.append(element("option", { value }, value));
    select.onchange = show;
    return { index, select, box: element("label", {}, `${name} `, select) };
  }

  const search = element("input", { type: "search", id: "sheet-search" });
  search.oninput = show;
  const filters = table.dataset.filters.split(" ").filter((name) => column(name) >= 0).map(choice);
  const count = element("output", { id: "sheet-count" });
  const bar = element("div", { className: "sheet-bar" },
    element("label", {}, "search ", search), ...filters.map((filter) => filter.box), count);
  (table.closest(".table-scroll") || table).before(bar);

  function show() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const content = `${row.id} ${row.textContent}`.toLowerCase();
      row.hidden = !(words.every((word) => content.includes(word)) &&
        filters.every(({ index, select }) => !select.value || key(row, index) === select.value));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} ${table.dataset.noun}`;
  }

  // A cell may say in data-sort what it sorts by (a number in base units).
  function sortable(head, index) {
    const button = element("button", { type: "button" }, head.textContent.trim());
    head.replaceChildren(button);
    button.onclick = () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[index].dataset.sort ?? text(row, index);
      const order = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if ((x === "") !== (y === "")) return x === "" ? 1 : -1;  // what has no value comes last
        const by = x !== "" && isFinite(x) && isFinite(y) ? x - y : x.localeCompare(y, "en", { numeric: true });
        return up ? by : -by;
      };
      table.tBodies[0].append(...rows.sort(order));
    };
  }
  heads.forEach(sortable);

  function follow() {
    rows.forEach((row) => row.classList.remove("target"));
    const row = rows.find((row) => row.id && row.id === decodeURIComponent(location.hash.slice(1)));
    if (!row) return;
    if (row.hidden) { search.value = ""; filters.forEach(({ select }) => (select.value = "")); show(); }
    row.classList.add("target");
    row.scrollIntoView({ block: "center", behavior: "instant" });
  }

  const asked = new URLSearchParams(location.search);
  for (const { select } of filters) {
    const wish = asked.get(select.id.slice("sheet-".length));
    if ([...select.options].some((option) => option.value === wish)) select.value = wish;
  }
  show();
  addEventListener("hashchange", follow);
  addEventListener("load", follow);
})();
