// What happens in a step, told with its numbers.

import { h, math } from "./dom.js";
import { nameOf } from "./graph.js";
import { heatMap } from "./matrix.js";
import { largest, shapeText, sizeText } from "./numbers.js";
import { remark, t, tn } from "./words.js";

/** The heading of a step, as text. */
export function headingOf(model, step, place, count) {
  const named = (id) => nameOf(model, model.live(id).id);
  const shown = (id) => nameOf(model, model.shownAs(id));
  const values = { place, count };
  if (step.kind === "forward") return t("forwardStep", { ...values, name: named(step.node.id) });
  if (step.kind === "backward") {
    const { from, to } = step.message;
    return t("backwardStep", { ...values, from: shown(from), to: shown(to) });
  }
  return t(`${step.kind}Step`, values);
}

/** The elements that tell a step. act: {toggle}. */
export function storyOf(model, step, act) {
  const offer = (node) => (node.unfolds ? foldButton(t("unfoldFused"), node.unfolds, act) : null);
  if (step.kind === "forward") return [...forward(model, step), offer(step.node)];
  if (step.kind === "backward") {
    return [...backward(model, step), offer(model.live(step.message.from))];
  }
  if (step.kind === "seed") return seed(model);
  return step.kind === "start" ? start(model) : end(model);
}

export function code(text) {
  return h("code", {}, text);
}

function says(key, values = {}) {
  return h("p", {}, tn(key, values));
}

function shapeOrScalar(array) {
  return array.shape.length ? shapeText(array.shape) : t("scalar");
}

function start(model) {
  const leaves = model.data.nodes.filter((node) => node.kind === "leaf");
  const constants = model.data.nodes.filter((node) => node.kind === "constant" && !node.box);
  return [says("startText"),
    h("div", { class: "maps" }, [...leaves, ...constants].slice(0, 8).map((node) => (
      node.value === null ? code(nameOf(model, node.id))
        : heatMap(model.data.arrays[node.value], nameOf(model, node.id))))),
    leaves.length + constants.length > 8 ? says("andMore", { count: leaves.length + constants.length - 8 }) : null];
}

function forward(model, step) {
  const { node } = step;
  const { arrays } = model.data;
  const given = uniqueInputs(model, node);
  return [
    sourceLine(node),
    formula(model, node, node.forward, node.where),
    given.length ? h("h3", {}, t("given")) : null,
    h("div", { class: "maps" }, given.map((id) => valueMap(model, id))),
    h("h3", {}, t("result")),
    node.value === null ? says("valueNotRecorded") : h("div", { class: "maps" },
      heatMap(arrays[node.value], nameOf(model, node.id))),
    kept(model, node),
  ];
}

function uniqueInputs(model, node) {
  const ids = node.inputs.map((input) => input.node).filter((id) => id !== null);
  return [...new Set(ids.map((id) => model.live(id).id))];
}

function valueMap(model, id) {
  const node = model.nodes.get(id);
  if (node.value === null) return h("p", { class: "quiet" }, code(nameOf(model, id)), " ", t("valueNotRecorded"));
  return heatMap(model.data.arrays[node.value], nameOf(model, id));
}

/** A button that folds or unfolds a box. */
export function foldButton(label, box, act) {
  return h("p", {}, h("button", { type: "button", class: "fold-button", onclick: () => act.toggle(box) }, label));
}

/** The place in the program, with the expression that stands there. */
export function sourceLine(node) {
  if (!node.source) return null;
  const [place, text] = node.source;
  return h("p", { class: "source" }, h("span", { class: "place" }, place), text ? code(text) : "");
}

/** A formula; and below it what its names stand for, where the program has others. */
export function formula(model, node, markup, where) {
  if (!markup) return h("p", { class: "formula" }, h("code", {}, `${node.op}(\u2026)`));
  const lines = [h("p", { class: "formula" }, math(markup))];
  const means = [];
  if (where) {
    for (const input of node.inputs) {
      if (input.node === null) continue;
      means.push([input.name, nameOf(model, model.live(input.node).id)]);
    }
  }
  const occurs = (name) => markup.includes(`<mi>${name.replace(/_/g, " ")}</mi>`);
  const list = means.filter(([name, meaning]) => name !== meaning && occurs(name))
    .map(([name, meaning]) => h("li", {}, code(name), " = ", code(meaning)));
  const statics = node.statics.filter(([name]) => occurs(name));
  list.push(...statics.map(([name, value]) => h("li", {}, code(name), " = ", code(value))));
  for (const [name, meaning] of Object.entries(model.data.terms)) {
    if (occurs(name)) list.push(h("li", {}, code(name), ": ", remark(meaning)));
  }
  if (list.length) lines.push(h("ul", { class: "where" }, list));
  return lines;
}

/** What a node keeps for its gradient rules. */
export function kept(model, node) {
  if (!node.keeps || !node.keeps.length) return null;
  const items = node.keeps.map(([name, bytes, until]) => h("li", {}, code(name), ` ${sizeText(bytes)}`,
    until && model.nodes.has(until) ? tn("keptUntil", { name: code(nameOf(model, until)) }) : ""));
  return h("div", { class: "kept" }, h("h3", {}, t("keeps")), h("ul", {}, items));
}

function seed(model) {
  const root = model.live(model.data.root);
  const array = model.data.arrays[model.data.seed];
  return [says(array.shape.length ? "seedArray" : "seedText", { name: code(nameOf(model, root.id)) }),
    h("div", { class: "maps" }, heatMap(array, "g"))];
}

function backward(model, step) {
  const { message } = step;
  const { arrays } = model.data;
  const from = model.live(message.from);
  const to = model.live(message.to);
  const [fromName, toName] = [nameOf(model, from.id), nameOf(model, to.id)];
  const raw = arrays[message.raw];
  const arrived = arrays[message.arrived];
  const parts = [sourceLine(from)];
  if (step.run > 1) parts.push(says("lastOfRun", { count: step.run }));
  const g = model.gradientAt(from, step);
  if (g.array !== null) {
    parts.push(h("h3", {}, tn("gradientAt", { name: code(fromName) })),
      h("div", { class: "maps" }, heatMap(arrays[g.array], "g")));
  }
  parts.push(h("h3", {}, tn("messageTo", { name: code(toName) })),
    formula(model, from, message.rule, message.where),
    message.raw === g.array && raw.values === undefined ? says("sameAsG")
      : h("div", { class: "maps" }, heatMap(raw, t("message"))));
  if (from.note) parts.push(h("p", { class: "quiet" }, remark(from.note)));
  if (message.summed) {
    parts.push(h("p", { class: "why" }, t("broadcast", {
      name: toName, small: shapeOrScalar(arrived), large: shapeText(raw.shape), axes: message.summed.join(", "),
    })), h("div", { class: "maps" }, heatMap(arrived, t("summed"))));
  }
  if (message.cast) parts.push(says("castFrom", { from: code(message.cast), to: code(arrived.dtype) }));
  parts.push(...addition(model, step, to, toName));
  return parts;
}

/** before + message = after; or that it is the first, or the only one. */
function addition(model, step, to, name) {
  const { message } = step;
  const { arrays } = model.data;
  const { come, all } = model.gradientAt(to, step);
  const waits = { name: code(name), come, all };
  if (message.before === null) {
    return [says(all === 1 ? "onlyMessage" : "firstMessage", waits)];
  }
  const three = [message.before, message.arrived, message.after];
  const top = Math.max(...three.map((place) => largest(arrays[place]))); // one scale for all
  const map = (place, key) => heatMap(arrays[place], t(key), { top });
  const sign = (text) => h("span", { class: "sign", "aria-hidden": "true" }, text);
  return [h("h3", {}, t("addsUp")),
    h("div", { class: "maps sum" }, map(message.before, "before"), sign("+"),
      map(message.arrived, "message"), sign("="), map(message.after, "after")),
    says(come === all ? "lastMessage" : "oneMoreMessage", waits)];
}

function end(model) {
  const leaves = model.data.nodes.filter((node) => node.kind === "leaf");
  const last = model.steps.all[model.steps.all.length - 1];
  const shown = leaves.slice(0, 8);
  return [says("endText"), h("div", { class: "maps" }, shown.map((node) => {
    const { array } = model.gradientAt(node, last);
    const name = nameOf(model, node.id);
    if (array === null) return h("p", { class: "quiet" }, code(name), " ", t("notComputed"));
    return heatMap(model.data.arrays[array], t("gradientOf", { name }));
  })), leaves.length > 8 ? says("andMore", { count: leaves.length - 8 }) : null];
}

