// Heat maps: an array as a table of coloured cells, with the number of the cell that is
// pointed at or has the focus; and as a small picture for a node of the graph.

import { h, s } from "./dom.js";
import {
  colorOf, exactText, indexText, largest, numberText, rowsOf, shapeText,
} from "./numbers.js";
import { t } from "./words.js";

/**
 * array: of the page's data; name: what it is called. options: `top`, the magnitude of
 * the strongest colour; `pick`, called with the flat index of a cell that is chosen;
 * `picked`, the one that was.
 */
export function heatMap(array, name, options = {}) {
  const caption = array.shape.length ? `${name} \u00b7 ${shapeText(array.shape)}` : name;
  if (rowsOf(array) === null) return summaryOf(array, caption, options);
  const rows = rowsOf(array);
  if (!rows.length || !rows[0].length) {
    return h("div", { class: "heat" }, h("div", { class: "caption" }, caption), t("empty"));
  }
  return tableOf(array, rows, caption, options, (r, c) => indexText(array.shape, r, c));
}

function tableOf(array, rows, caption, options, indexOf, gaps = null) {
  const top = options.top === undefined ? largest(array) : options.top;
  const wide = rows[0].length > 8; // then the colours alone are seen
  const tight = !wide && rows[0].length > 5;
  const digits = tight ? (rows[0].length > 6 && !gaps ? 2 : 3) : 4; // the focus shows all
  const readout = h("div", { class: "readout" }, "\u00a0");
  const tell = (cell) => {
    const label = `${cell.dataset.index} = ${exactText(valueOf(cell))}`;
    readout.textContent = options.pick && !cell.dataset.gap ? `${label} \u00b7 ${t("nudgeHint")}` : label;
  };
  let flat = -1;
  const body = rows.map((row, r) =>
    h("tr", { role: "row" }, row.map((value, c) => {
      if (gaps && (gaps.rows.includes(r) || gaps.columns.includes(c))) {
        return h("td", { role: "gridcell", class: "gap" }, "\u22ef");
      }
      flat += 1;
      const index = flat;
      const cell = h("td", {
        role: "gridcell",
        class: `cell ${colorOf(value, top)}`,
        tabindex: index === (options.picked || 0) ? 0 : -1,
        "data-value": JSON.stringify(value),
        "data-index": indexOf(r, c),
        "data-flat": index,
        "data-gap": gaps !== null,
        "aria-label": `${indexOf(r, c)} ${numberText(value)}`,
        "aria-selected": options.pick ? String(index === options.picked) : null,
        onmouseenter: (event) => tell(event.target),
        onfocus: (event) => tell(event.target),
      }, wide ? "" : numberText(value, digits));
      if (options.pick) cell.addEventListener("click", () => options.pick(index));
      return cell;
    })));
  const table = h("table", {
    role: "grid", class: `cells${wide ? " small" : ""}${tight ? " tight" : ""}`, "aria-label": caption, onkeydown: moveInGrid,
  }, h("tbody", { role: "rowgroup" }, body));
  const scroll = h("div", { class: "scroll" }, table);
  return h("div", { class: "heat", "data-name": caption }, h("div", { class: "caption" }, caption), scroll, readout);
}

function valueOf(cell) {
  return JSON.parse(cell.dataset.value);
}

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** Arrow keys go from cell to cell, Enter chooses one. */
function moveInGrid(event) {
  const cell = event.target.closest("td");
  if (!cell) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    cell.click();
    return;
  }
  const move = MOVES[event.key];
  if (!move) return;
  event.preventDefault();
  const table = cell.closest("table");
  let [row, column] = [cell.parentElement.rowIndex, cell.cellIndex];
  for (;;) {
    row += move[0];
    column += move[1];
    const next = table.rows[row] && table.rows[row].cells[column];
    if (!next) return;
    if (next.tabIndex === undefined || next.classList.contains("gap")) continue;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    return;
  }
}

/** A large array: its corners, with what is left out marked, and a histogram. */
function summaryOf(array, caption, options) {
  const { rows, columns } = array;
  const spread = (list, places) => {
    const gap = places.findIndex((place, i) => i && place !== places[i - 1] + 1);
    if (gap < 0) return { list, at: [], places };
    return { list, at: [gap], places: [...places.slice(0, gap), null, ...places.slice(gap)] };
  };
  const down = spread(array.corners, rows);
  const across = spread(array.corners[0], columns);
  const cells = down.places.map((row) => across.places.map((column) => (
    row === null || column === null ? null : array.corners[rows.indexOf(row)][columns.indexOf(column)]
  )));
  const leading = array.shape.slice(0, -2).map(() => 0);
  const indexOf = (r, c) => {
    const own = array.shape.length > 1 ? [down.places[r]] : [];
    return `[${[...leading, ...own, across.places[c]].join(", ")}]`;
  };
  const table = tableOf(array, cells, caption, { ...options, pick: null }, indexOf, {
    rows: down.at, columns: across.at,
  });
  const facts = [
    [t("least"), array.min], [t("mean"), array.mean], [t("most"), array.max],
  ].filter((each) => each[1] !== null);
  const odd = (array.nan || 0) + (array.inf || 0);
  const shown = `[${[...leading, ":", ":"].join(", ")}]`;
  const count = array.shape.reduce((a, b) => a * b, 1);
  return h("div", { class: "summary" }, table,
    leading.length ? h("p", { class: "quiet part" }, t("partShown", { index: shown, count })) : null,
    array.histogram ? histogram(array, caption) : null,
    h("dl", { class: "facts" }, facts.map(([name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", { "data-fact": JSON.stringify(value) }, numberText(value))))),
    odd ? h("p", { class: "odd-count" }, t("notFinite", { count: odd })) : null);
}

function histogram(array, caption) {
  const { edges, counts } = array.histogram;
  const most = Math.max(...counts);
  const bars = counts.map((count, i) => s("rect", {
    x: i * 10, width: 9, y: 40 - (38 * count) / most, height: (38 * count) / most, "data-count": count,
  }));
  return h("figure", { class: "histogram" },
    s("svg", { viewBox: "0 0 160 41", role: "img", "aria-label": t("histogramOf", { name: caption }) },
      bars, s("path", { d: "M0,40.5H160", class: "axis" })),
    h("figcaption", {}, h("span", {}, numberText(edges[0], 3)), h("span", {}, numberText(edges[1], 3))));
}

/** A picture of an array, `width` by `height` at most, at (0, 0): a path for each colour. */
export function thumbnail(array, width, height) {
  const rows = rowsOf(array);
  if (rows === null) return bars(array, width, height);
  if (!rows.length || !rows[0].length) return [];
  const top = largest(array);
  const across = Math.min(9, width / rows[0].length);
  const down = Math.min(9, height / rows.length);
  const paths = new Map();
  rows.forEach((row, r) => row.forEach((value, c) => {
    const color = colorOf(value, top);
    const d = `M${digit(c * across)},${digit(r * down)}h${digit(across)}v${digit(down)}h${digit(-across)}z`;
    paths.set(color, (paths.get(color) || "") + d);
  }));
  const pictures = [...paths].map(([color, d]) => s("path", { d, class: `cell ${color}` }));
  const outline = `M0,0h${digit(across * rows[0].length)}v${digit(down * rows.length)}H0z`;
  return [...pictures, s("path", { d: outline, class: "thumb-edge" })];
}

function bars(array, width, height) {
  if (!array.histogram) return [];
  const { counts } = array.histogram;
  const most = Math.max(...counts);
  const across = Math.min(width, 46) / counts.length;
  const d = counts.map((count, i) => {
    const tall = (height * count) / most;
    return tall ? `M${digit(i * across)},${digit(height)}v${digit(-tall)}h${digit(across * 0.85)}v${digit(tall)}z` : "";
  });
  return [s("path", { d: d.join(""), class: "bars" })];
}

function digit(value) {
  return Math.round(value * 10) / 10;
}
