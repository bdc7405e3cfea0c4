// The selected node: its value and its gradient, as they are at the current step, and
// its cells, which can be nudged.

import { h } from "./dom.js";
import { kindOf, lastOf, nameOf } from "./graph.js";
import { heatMap } from "./matrix.js";
import { nudgePanel } from "./nudge.js";
import { numberText } from "./numbers.js";
import { code, foldButton, formula, kept, sourceLine } from "./story.js";
import { remark, t } from "./words.js";

/** state: {selected, picked, nudge}. act: {select, toggle, pick, setNudge}. */
export function inspectorOf(model, step, state, act) {
  const box = model.boxes.get(state.selected);
  return box ? boxPart(model, step, box, act) : nodePart(model, step, state, act);
}

function boxPart(model, step, box, act) {
  const node = lastOf(model, box.id);
  const inside = model.inside.get(box.id);
  const leaves = inside.filter((each) => each.kind === "leaf");
  const source = box.source ? sourceLine(box) : null;
  return [
    h("h2", { id: "node-heading" }, code(nameOf(model, box.id)), " ", h("small", {}, kindOf(model, box.id))),
    foldButton(t("unfold"), box.id, act),
    source,
    leaves.length ? h("p", {}, t("parameters"), " ", leaves.slice(0, 12).map((leaf, i) => [i ? ", " : "", code(leaf.label || leaf.op)])) : null,
    h("h3", {}, t("boxResult")),
    valuePart(model, step, node, null),
    h("h3", {}, t("gradient")),
    gradientPart(model, step, node),
  ];
}

function nodePart(model, step, state, act) {
  const node = model.nodes.get(state.selected);
  const parent = model.boxes.get(node.box);
  const fused = parent && parent.kind === "fused" ? parent : null;
  const gradient = model.gradientAt(node, step);
  const told = step.kind === "forward" && step.node === node; // by the story beside
  return [
    h("h2", { id: "node-heading" }, code(nameOf(model, node.id)), " ", h("small", {}, kindOf(model, node.id))),
    node.unfolds ? [foldButton(t("unfoldFused"), node.unfolds, act)] : null,
    fused ? foldPart(model, fused, act) : null,
    told ? null : ownFormula(model, node),
    h("h3", {}, t("value")),
    valuePart(model, step, node, { pick: act.pick, picked: state.picked }),
    node.kind === "constant" ? h("p", { class: "quiet" }, t("constantText")) : [
      h("h3", {}, t("gradient"), " ", h("small", {}, progress(gradient))),
      gradientPart(model, step, node),
      checkPart(node, gradient),
    ],
    node.held === undefined ? null : h("p", { class: "quiet" }, t("heldGrad")),
    model.hasValue(node, step) && node.value !== null && node.kind !== "constant"
      ? nudgePanel(model, step, node, state, act) : null,
    node.hooks ? h("p", { class: "quiet" }, t("hooks", { count: node.hooks })) : null,
    told || !model.hasValue(node, step) ? null : kept(model, node),
    neighbours(model, node, act),
    node.cite ? h("p", { class: "cite" }, t("reference"), " ", node.cite) : null,
  ];
}

function foldPart(model, fused, act) {
  const same = fused.differs === null ? null
    : h("p", { class: "quiet" }, t("sameNumbers", { worst: numberText(fused.differs, 2) }));
  return [foldButton(t("foldInto", { name: fused.title }), fused.id, act), same,
    fused.notes.map((note) => h("p", { class: "hint" }, remark(note)))];
}

function ownFormula(model, node) {
  if (node.kind !== "op") return null;
  return [sourceLine(node), formula(model, node, node.forward, node.where),
    node.note ? h("p", { class: "quiet" }, remark(node.note)) : null];
}

/** What `tg.explain(..., check=True)` found, once the gradient is whole. */
function checkPart(node, { come, all }) {
  if (!node.check || !come || come < all) return null;
  const [agrees, worst] = node.check;
  return h("p", { class: agrees ? "quiet" : "hint" },
    t(agrees ? "checkAgrees" : "checkDiffers", { worst: numberText(worst, 2) }));
}

function progress({ come, all }) {
  return all > 1 && come < all && come > 0 ? t("partOf", { come, all }) : "";
}

function valuePart(model, step, node, options) {
  if (!model.hasValue(node, step)) return h("p", { class: "missing" }, t("notComputedYet"));
  if (node.value === null) return h("p", { class: "missing" }, t("valueNotRecorded"));
  const array = model.data.arrays[node.value];
  const pick = options && node.kind !== "constant" && array.values !== undefined ? options : {};
  return heatMap(array, nameOf(model, node.id), pick);
}

function gradientPart(model, step, node) {
  const { array, all } = model.gradientAt(node, step);
  if (array !== null) return heatMap(model.data.arrays[array], t("gradientOf", { name: nameOf(model, node.id) }));
  return h("p", { class: "missing" }, t(all ? "notComputedYet" : "noMessage"));
}

/** Buttons that lead to what a node comes from and goes to. */
function neighbours(model, node, act) {
  const links = (key, ids) => (ids.length ? h("p", { class: "links" }, t(key), " ",
    ids.slice(0, 12).map((id) => [
      h("button", { type: "button", class: "link", onclick: () => act.select(id) }, nameOf(model, id)), " ",
    ])) : null);
  return [
    links("comesFrom", model.edges.filter((edge) => edge.to === node.id).map((edge) => edge.from)),
    links("goesTo", model.edges.filter((edge) => edge.from === node.id).map((edge) => edge.to)),
  ];
}
