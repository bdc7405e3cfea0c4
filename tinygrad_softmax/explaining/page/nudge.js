// A cell is nudged up and down, and the slope that was measured stands beside the
// gradient. The library measured it when the page was written.

import { h } from "./dom.js";
import { nameOf } from "./graph.js";
import { asNumber, exactText, indexText, numberText, rowsOf } from "./numbers.js";
import { t } from "./words.js";

export function nudgePanel(model, step, node, state, act) {
  const { nudges } = model.data;
  const array = model.data.arrays[node.value];
  const heading = h("h3", {}, t("nudge"));
  const cells = nudges && nudges.cells[node.id];
  if (!cells) {
    const why = !nudges ? "nudgesNeedRecord" : array.values === undefined ? "nudgesTooLarge" : "nudgesNotRecorded";
    return h("section", { class: "nudge" }, heading, h("p", { class: "missing" }, t(why)));
  }
  if (!rowsOf(array).flat().length) return null;
  const picked = Math.min(state.picked || 0, cells[0].length - 1);
  const [up, down] = cells[state.nudge][picked];
  const size = nudges.steps[state.nudge];
  const columns = rowsOf(array)[0].length;
  const index = indexText(array.shape, Math.floor(picked / columns), picked % columns);
  const cell = `${nameOf(model, node.id)}${index}`;
  const slope = (asNumber(up) - asNumber(down)) / (2 * size);
  const { array: place, come, all } = model.gradientAt(node, step);
  const whole = place !== null && come === all;
  const exact = whole ? flat(model.data.arrays[place])[picked] : null;
  const loss = nameOf(model, model.live(model.data.root).id);
  const row = (name, value, raw) => h("div", {}, h("dt", {}, name),
    h("dd", { "data-value": raw === null ? null : JSON.stringify(raw) }, value));
  return h("section", { class: "nudge" }, heading,
    h("div", { class: "choices", role: "group", "aria-label": t("nudgeBy") },
      h("span", { class: "by" }, t("nudgeBy")),
      nudges.steps.map((each, i) => h("button", {
        type: "button", "aria-pressed": String(i === state.nudge), onclick: () => act.setNudge(i),
      }, `\u00b1${each}`))),
    h("dl", { class: "slopes" },
      row(t("lossWith", { loss, cell: `${cell} + ${size}` }), digits(up), up),
      row(t("lossWith", { loss, cell: `${cell} \u2212 ${size}` }), digits(down), down),
      row(t("measuredSlope"), Number.isFinite(slope) ? numberText(slope, 6) : t("noSlope"), slopeOrNull(slope)),
      row(t("gradientCell", { index }), whole ? numberText(exact, 6) : t("notComputedYet"), exact)),
    h("p", { class: "quiet" }, t("nudgeHow")));
}

function slopeOrNull(slope) {
  return Number.isFinite(slope) ? slope : null;
}

function digits(value) {
  return typeof value === "number" ? numberText(value, 9) : exactText(value);
}

function flat(array) {
  return rowsOf(array).flat();
}
