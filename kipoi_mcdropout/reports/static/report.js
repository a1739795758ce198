"use strict";
// Without this script the report is complete; it adds sorting, filters, and printing of what is folded.

(() => {
  const collator = new Intl.Collator("en", { numeric: true });

  /** What a row is sorted by in a column: a number, or text; null sorts last either way. */
  function keyOf(row, index, kind) {
    const cell = row.cells[index];
    if (kind === "number") {
      return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    }
    const text = cell.textContent.trim();
    return text === "\u2013" || text === "" ? null : text;
  }

  function sort(table, header, descending) {
    const index = header.cellIndex;
    const kind = header.dataset.sort;
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row, place) => ({ row, place, key: keyOf(row, index, kind) }));
    const sign = descending ? -1 : 1;
    rows.sort((a, b) => {
      if (a.key === null || b.key === null) {
        return (a.key === null) - (b.key === null) || a.place - b.place;
      }
      const order = kind === "number" ? a.key - b.key : collator.compare(a.key, b.key);
      return sign * order || a.place - b.place;
    });
    body.append(...rows.map(({ row }) => row));
    for (const other of table.tHead.rows[0].cells) {
      if (other.dataset.sort) {
        other.setAttribute("aria-sort", "none");
      }
    }
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  }

  function makeSortable(table) {
    for (const header of table.querySelectorAll("th[data-sort]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      header.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        // Numbers are wanted from the largest, texts from A.
        const now = header.getAttribute("aria-sort");
        const first = header.dataset.sort === "number" && header.textContent.trim() !== "#";
        sort(table, header, now === "none" ? first : now === "ascending");
      });
    }
  }

  function makeFilters(form) {
    const table = document.getElementById(form.dataset.filters);
    const rows = Array.from(table.tBodies[0].rows, (row) => ({
      row,
      text: Array.from(row.cells, (cell) => cell.textContent.trim()).join(" ").toLowerCase(),
    }));
    const input = form.querySelector("input");
    const choices = Array.from(form.querySelectorAll("select"));
    const shown = form.querySelector("[role=status]");

    function apply() {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let n = 0;
      for (const { row, text } of rows) {
        const fits =
          words.every((word) => text.includes(word)) &&
          choices.every((choice) => !choice.value || row.dataset[choice.dataset.filter] === choice.value);
        row.hidden = !fits;
        n += fits;
      }
      shown.textContent = `${n.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows shown`;
    }

    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    apply();
  }

  function printWhatIsFolded() {
    let opened = [];
    window.addEventListener("beforeprint", () => {
      opened = Array.from(document.querySelectorAll("details:not([open])"));
      opened.forEach((details) => (details.open = true));
    });
    window.addEventListener("afterprint", () => opened.forEach((details) => (details.open = false)));
  }

  document.querySelectorAll("table[data-sortable]").forEach(makeSortable);
  document.querySelectorAll("form[data-filters]").forEach(makeFilters);
  printWhatIsFolded();
})();
