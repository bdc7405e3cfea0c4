// The graph as SVG: nodes with small pictures of their value and gradient, the boxes
// around them, and on the current edge the message.

import { replace, s } from "./dom.js";
import { curve, layout, pointAlong } from "./layout.js";
import { thumbnail } from "./matrix.js";
import { shapeText } from "./numbers.js";
import { remark, t } from "./words.js";

const HEIGHT = 72;
const LETTER = 7.6; // the width of one of the names' letters, and of the small ones
const SMALL = 6.3;
const MOST = 20; // letters of a name
const MARGIN = 10;

/** What a node or folded box is called: its name in the program, else its op. */
export function nameOf(model, id) {
  const box = model.boxes.get(id);
  if (box) return box.path || titleOf(box);
  const node = model.nodes.get(id);
  const fused = model.boxes.get(node.box);
  if (fused && fused.root === id) return model.nodes.get(fused.node).label || node.label || node.op;
  return node.label || node.op;
}

/** A box's title: of turns of a loop, which they are. */
function titleOf(box) {
  const [first, last] = box.title.split("/");
  if (box.kind === "turns") return t("moreTurns", { count: first });
  return box.kind === "turn" ? t("turn", { place: first, count: last }) : remark(box.title);
}

/** The same for the graph, where the boxes around it need not be said again. */
function shortName(model, id) {
  const box = model.boxes.get(id);
  const around = model.around(box ? box.parent : model.nodes.get(id).box);
  return withoutPath(nameOf(model, id), around);
}

function withoutPath(name, around) {
  const path = around.map((box) => box.path).filter(Boolean).pop();
  return path && name.startsWith(`${path}.`) ? name.slice(path.length + 1) : name;
}

/** "exp · 4×1": what it is, and its shape. */
export function kindOf(model, id) {
  const box = model.boxes.get(id);
  if (box) {
    const ops = model.inside.get(id).filter((node) => node.kind === "op" && isOutside(model, node));
    const count = ops.length === 1 ? t("oneOp") : t("ops", { count: ops.length });
    return `${box.path ? box.title : t("folded")} \u00b7 ${count}`;
  }
  const node = model.nodes.get(id);
  const word = { leaf: t("leaf"), constant: t("constant") }[node.kind];
  const named = nameOf(model, id) !== node.op;
  const what = word || (named ? node.op : "");
  return [what, shapeText(node.shape) || t("scalar")].filter(Boolean).join(" \u00b7 ");
}

function isOutside(model, node) {
  const box = model.boxes.get(node.box);
  return !box || box.kind !== "fused";
}

/** The node whose value a folded box shows: that of its last op. */
export function lastOf(model, id) {
  const ops = model.inside.get(id).filter((node) => node.kind === "op" && isOutside(model, node));
  return ops[ops.length - 1];
}

export class Graph {
  /** place: the scrolling element. act: {select(id), toggle(box)}. */
  constructor(place, model, act) {
    Object.assign(this, { place, model, act, zoom: 1 });
  }

  /** Lay out and draw anew: after folding, and in another language. */
  draw() {
    const { model } = this;
    const items = model.visible.map((id) => this.itemOf(id));
    const boxes = model.data.boxes.filter((box) => this.isOpen(box));
    const width = (box) => 50 + LETTER * wideLength(shortened(this.boxTitle(box), 30));
    this.plan = layout(items, boxes, model.edges, width);
    this.nodes = new Map();
    this.paths = new Map();
    const edges = model.edges.map((edge, i) => this.edge(edge, this.plan.paths[i]));
    const frames = boxes.map((box) => this.frame(box));
    const nodes = items.map((item) => this.node(item));
    this.messageMark = s("g", { class: "message-mark", "aria-hidden": "true" });
    const [across, down] = [this.plan.width + 2 * MARGIN, this.plan.height + 2 * MARGIN];
    this.svg = s("svg", { viewBox: `${-MARGIN} ${-MARGIN} ${across} ${down}`, role: "group",
      "aria-label": t("graphLabel") }, arrows(), frames, edges, nodes, this.messageMark);
    this.size = [across, down];
    replace(this.place, this.svg);
    this.setZoom(this.zoom);
  }

  /** Whether a box is open, and every box around it. */
  isOpen(box) {
    return this.model.around(box.id).every((each) => this.model.open.has(each.id));
  }

  setZoom(zoom) {
    this.zoom = zoom;
    this.svg.setAttribute("width", this.size[0] * zoom);
    this.svg.setAttribute("height", this.size[1] * zoom);
  }

  /** The zoom at which the whole graph is seen, as far as that can be read. */
  fit(least = 0.2) {
    this.setZoom(Math.min(1.25, Math.max(least, this.wholeZoom())));
  }

  wholeZoom() {
    return (this.place.clientWidth - 2) / this.size[0];
  }

  itemOf(id) {
    const { model } = this;
    const box = model.boxes.get(id);
    const node = model.nodes.get(id);
    const [name, kind] = [shortened(shortName(model, id)), shortened(kindOf(model, id), 32)];
    const icon = box || node.unfolds ? 22 : 0;
    const wide = Math.max(name.length * LETTER + icon, wideLength(kind) * SMALL);
    return { id, name, kind, icon, box: box ? box.parent : node.box, source: Boolean(node) && node.kind !== "op",
      width: Math.max(112, Math.ceil(wide) + 24), height: HEIGHT };
  }

  node(item) {
    const { model } = this;
    const { x, y, width, height } = this.plan.items.get(item.id);
    const box = model.boxes.get(item.id);
    const node = model.nodes.get(item.id);
    const kind = box ? "box" : node.kind;
    const opens = box ? box.id : node.unfolds;
    const value = s("g", { transform: `translate(12 46)`, class: "thumb" });
    const gradient = s("g", { transform: `translate(${width / 2 + 4} 46)`, class: "thumb" });
    const group = s("g", {
      class: `node ${kind}`, transform: `translate(${x} ${y})`, role: "button", tabindex: -1,
      "data-id": item.id,
      onclick: () => this.act.select(item.id),
      ondblclick: () => opens && this.act.toggle(opens),
      onkeydown: (event) => this.key(event, item.id, opens),
    },
    box ? s("rect", { class: "behind", x: 4, y: -4, width, height, rx: 8 }) : null,
    s("rect", { class: "shape", width, height, rx: kind === "leaf" ? 16 : 8 }),
    s("text", { class: "name", x: 12, y: 20 }, item.name),
    s("text", { class: "kind", x: 12, y: 36 }, item.kind),
    opens ? this.icon(width - 20, 8, true, opens) : null,
    value, gradient);
    this.nodes.set(item.id, { group, value, gradient, width });
    return group;
  }

  /** A plus that unfolds, for the mouse: by keyboard it is Enter on the node. */
  icon(x, y, plus, box) {
    return s("g", { class: "icon", transform: `translate(${x} ${y})`, "aria-hidden": "true",
      onclick: (event) => {
        event.stopPropagation();
        this.act.toggle(box);
      } },
    s("rect", { x: -4, y: -4, width: 20, height: 20, class: "hit" }),
    s("rect", { width: 12, height: 12, rx: 3 }),
    s("path", { d: plus ? "M3,6H9M6,3V9" : "M3,6H9" }));
  }

  boxTitle(box) {
    if (box.kind === "fused") return t("unfolded", { name: box.title });
    const path = withoutPath(box.path, this.model.around(box.parent));
    return path ? `${path} \u00b7 ${box.title}` : titleOf(box);
  }

  frame(box) {
    const { x, y, width, height } = this.plan.boxes.get(box.id);
    const fold = () => this.act.toggle(box.id);
    const title = shortened(this.boxTitle(box), 30);
    return s("g", { class: `frame ${box.kind}`, transform: `translate(${x} ${y})` },
      s("rect", { width, height, rx: 12 }),
      s("g", { class: "fold", role: "button", tabindex: 0, "data-box": box.id,
        "aria-label": t("foldNamed", { name: this.boxTitle(box) }), onclick: fold,
        onkeydown: (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          event.stopPropagation();
          fold();
        } },
      s("rect", { class: "hit", x: 6, y: 3, width: 30 + LETTER * wideLength(title), height: 22, rx: 6 }),
      this.icon(12, 8, false, box.id),
      s("text", { x: 30, y: 18 }, title)));
  }

  edge(edge, points) {
    const path = s("path", { class: "edge", d: curve(points), "marker-end": "url(#arrow)" });
    this.paths.set(`${edge.from} ${edge.to}`, { path, points });
    return path;
  }

  key(event, id, opens) {
    const order = this.model.visible;
    const place = order.indexOf(id);
    const goal = { ArrowDown: place + 1, ArrowUp: place - 1 }[event.key];
    if (goal !== undefined) {
      event.preventDefault();
      const next = order[Math.min(order.length - 1, Math.max(0, goal))];
      this.act.select(next);
      this.nodes.get(next).group.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (opens) this.act.toggle(opens);
      else this.act.select(id);
    }
  }

  // -- a step --------------------------------------------------------------------------

  /** Show what is known at a step, and what happens in it. */
  show(step, selected) {
    const { model } = this;
    for (const [id, parts] of this.nodes) this.fill(id, parts, step, id === selected);
    for (const { path } of this.paths.values()) {
      path.setAttribute("class", "edge");
      path.setAttribute("marker-end", "url(#arrow)");
      path.removeAttribute("marker-start");
    }
    replace(this.messageMark);
    if (step.kind === "forward") {
      const to = model.shownAs(step.node.id);
      for (const [key, { path }] of this.paths) {
        if (key.endsWith(` ${to}`)) mark(path, "forward");
      }
    }
    if (step.kind === "backward") this.showMessage(step.message);
  }

  showMessage(message) {
    const from = this.model.shownAs(message.from);
    const to = this.model.shownAs(message.to);
    const found = this.paths.get(`${to} ${from}`);
    if (!found) return;
    mark(found.path, "backward");
    found.path.parentNode.insertBefore(found.path, this.nodes.values().next().value.group);
    const picture = thumbnail(this.model.data.arrays[message.arrived], 34, 24);
    const group = s("g", { class: "card-in" }, picture);
    replace(this.messageMark, group);
    const { width, height } = group.getBBox();
    const [wide, tall] = [Math.max(width, 8) + 12, Math.max(height, 8) + 12];
    group.prepend(s("rect", { class: "card", x: -6, y: -6, width: wide, height: tall, rx: 6 }));
    const [x, y] = this.freePlace(found.points, wide, tall);
    this.messageMark.setAttribute("transform", `translate(${x - wide / 2 + 6} ${y - tall / 2 + 6})`);
  }

  /** A place on a line, near its middle, where a card covers no node and no title. */
  freePlace(points, wide, tall) {
    const titles = [...this.plan.boxes.values()].map((box) => ({ ...box, height: 26 }));
    const nodes = [...this.plan.items.values()];
    const covers = (taken, [x, y]) => taken.some((each) => (
      x + wide / 2 > each.x && x - wide / 2 < each.x + each.width
      && y + tall / 2 > each.y && y - tall / 2 < each.y + each.height));
    const shares = Array.from({ length: 81 }, (_, i) => 0.5 + ((i % 2 ? 1 : -1) * Math.ceil(i / 2)) / 84);
    const places = shares.map((share) => pointAlong(points, share));
    return places.find((place) => !covers([...nodes, ...titles], place))
      || places.find((place) => !covers(nodes, place)) || places[0];
  }

  fill(id, parts, step, selected) {
    const { model } = this;
    const node = model.boxes.has(id) ? lastOf(model, id) : model.nodes.get(id);
    const known = model.hasValue(node, step);
    const gradient = model.gradientAt(node, step);
    const room = parts.width / 2 - 16;
    const picture = (place) => (place === null ? [hollow()] : thumbnail(model.data.arrays[place], room, 18));
    const value = known ? node.value : null;
    if (parts.shownValue !== value) replace(parts.value, picture(value));
    parts.shownValue = value;
    if (node.kind !== "constant") {
      if (parts.shownGradient !== gradient.array) replace(parts.gradient, picture(gradient.array));
      parts.shownGradient = gradient.array;
      parts.gradient.classList.toggle("partial", gradient.come > 0 && gradient.come < gradient.all);
    }
    const { group } = parts;
    const current = this.isCurrent(id, step);
    group.classList.toggle("selected", selected);
    group.classList.toggle("waiting", !known);
    group.classList.toggle("forward", current === "forward");
    group.classList.toggle("backward", current === "backward");
    group.setAttribute("tabindex", selected ? 0 : -1);
    group.setAttribute("aria-current", selected ? "true" : "false");
    group.setAttribute("aria-label", t(node.kind === "constant" ? "nodeLabelConstant" : "nodeLabel", {
      name: nameOf(model, id), kind: kindOf(model, id),
      value: t(known && node.value !== null ? "computed" : "notComputed"),
      gradient: t(gradient.come ? (gradient.come < gradient.all ? "partSum" : "computed") : "notComputed"),
    }));
  }

  isCurrent(id, step) {
    const { model } = this;
    if (step.kind === "forward" && model.shownAs(step.node.id) === id) return "forward";
    if (step.kind === "seed" && model.shownAs(model.data.root) === id) return "backward";
    if (step.kind !== "backward") return "";
    const ends = [step.message.from, step.message.to].map((each) => model.shownAs(each));
    return ends.includes(id) ? "backward" : "";
  }

  /** Scroll so that nodes are seen. */
  reveal(ids) {
    const places = ids.map((id) => this.plan.items.get(id)).filter(Boolean);
    if (!places.length) return;
    const scale = this.zoom;
    const ends = (low, size) => [
      Math.min(...places.map((p) => p[low])), Math.max(...places.map((p) => p[low] + p[size])),
    ].map((value) => (value + MARGIN) * scale);
    const [left, right] = ends("x", "width");
    const [top, bottom] = ends("y", "height");
    const { place } = this;
    place.scrollTo({
      left: scrollFor(left, right, place.scrollLeft, place.clientWidth),
      top: scrollFor(top, bottom, place.scrollTop, place.clientHeight),
    });
  }
}

function scrollFor(low, high, now, size) {
  const room = 24;
  if (low - room >= now && high + room <= now + size) return now;
  return high - low > size ? high - size + room : (low + high - size) / 2;
}

function mark(path, direction) {
  path.setAttribute("class", `edge ${direction}`);
  if (direction === "forward") {
    path.setAttribute("marker-end", "url(#arrow-forward)");
  } else {
    path.removeAttribute("marker-end");
    path.setAttribute("marker-start", "url(#arrow-backward)");
  }
}

function arrows() {
  const arrow = (id, d, refX) => s("marker", { id, viewBox: "0 0 10 10", refX, refY: 5,
    markerWidth: 10, markerHeight: 10, markerUnits: "userSpaceOnUse", orient: "auto" },
  s("path", { d }));
  const right = "M0,1L9,5L0,9z";
  return s("defs", {}, arrow("arrow", right, 9), arrow("arrow-forward", right, 9),
    arrow("arrow-backward", "M10,1L1,5L10,9z", 1));
}

function hollow() {
  return s("rect", { class: "hollow", x: 0.5, y: 0.5, width: 17, height: 17, rx: 3 });
}

/** Text that fits: of a dotted name the end, which tells it from the others. */
export function shortened(text, most = MOST) {
  if (text.length <= most) return text;
  if (/^[\w.]+$/.test(text)) return `\u2026${text.slice(1 - most)}`;
  return `${text.slice(0, most - 1)}\u2026`;
}

/** The length of a text in small letters: Chinese ones are twice as wide. */
function wideLength(text) {
  return [...text].reduce((sum, letter) => sum + (letter > "\u2fff" ? 1.9 : 1), 0);
}
