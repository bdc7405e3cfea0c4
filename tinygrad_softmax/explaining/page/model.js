// What there is to see: which nodes are shown, folded or not, and the steps.
//
// A box is a module's call, a function of several ops, or a fused op with what it is
// made of. A folded module is shown as one box in place of its nodes; a folded fused op
// is the op itself.

const ROOM = 30; // nodes that are shown at first; modules stay folded beyond

export class Model {
  constructor(data) {
    this.data = data;
    this.nodes = new Map(data.nodes.map((node) => [node.id, node]));
    this.boxes = new Map(data.boxes.map((box) => [box.id, box]));
    this.inside = new Map(data.boxes.map((box) => [box.id, []]));
    for (const node of data.nodes) {
      for (const box of this.around(node.box)) this.inside.get(box.id).push(node);
    }
    for (const box of data.boxes) {
      if (box.kind === "fused") this.nodes.get(box.node).unfolds = box.id;
    }
    this.open = new Set();
    this.openWhatFits();
    this.refresh();
  }

  /** The boxes around something, the outermost first. */
  around(id) {
    const found = [];
    for (let box = this.boxes.get(id); box; box = this.boxes.get(box.parent)) {
      found.unshift(box);
    }
    return found;
  }

  /** Modules are unfolded, outer ones first, while there is room. */
  openWhatFits() {
    for (let depth = 0; ; depth += 1) {
      const level = this.data.boxes.filter(
        (box) => box.kind !== "fused" && this.around(box.parent).length === depth,
      );
      if (!level.length) return;
      for (const box of level) {
        if (box.parent && !this.open.has(box.parent)) continue;
        this.open.add(box.id);
        this.refresh();
        if (this.visible.length > ROOM) this.open.delete(box.id);
      }
    }
  }

  toggle(box, open = !this.open.has(box)) {
    if (open) this.open.add(box);
    else this.open.delete(box);
    this.refresh();
  }

  toggleAll(open) {
    for (const box of this.data.boxes) {
      if (box.kind === "fused") continue;
      if (open) this.open.add(box.id);
      else this.open.delete(box.id);
    }
    this.refresh();
  }

  /** Whether a node takes part: a fused op does or what it is made of, never both. */
  isLive(node) {
    if (node.unfolds && this.open.has(node.unfolds)) return false;
    const box = this.boxes.get(node.box);
    return !box || box.kind !== "fused" || this.open.has(box.id);
  }

  /** The id of what is shown for a node: itself, or a box that it is folded in. */
  shownAs(id) {
    const node = this.nodes.get(id);
    for (const box of this.around(node.box)) {
      if (!this.open.has(box.id)) return box.kind === "fused" ? box.node : box.id;
    }
    const unfolded = node.unfolds && this.open.has(node.unfolds);
    return unfolded ? this.boxes.get(node.unfolds).root : id;
  }

  /** The live node that stands for one: of an unfolded op, the one it ends in. */
  live(id) {
    const node = this.nodes.get(id);
    if (node.unfolds && this.open.has(node.unfolds)) {
      return this.nodes.get(this.boxes.get(node.unfolds).root);
    }
    return node;
  }

  refresh() {
    const shown = new Set();
    const edges = new Map();
    const used = new Set();
    for (const node of this.data.nodes) {
      if (!this.isLive(node) || node.kind !== "op") continue;
      const to = this.shownAs(node.id);
      shown.add(to);
      for (const input of node.inputs) {
        if (input.node === null) continue;
        used.add(input.node);
        const from = this.shownAs(input.node);
        if (from !== to) edges.set(`${from} ${to}`, { from, to });
      }
    }
    for (const node of this.data.nodes) {
      if (node.kind === "leaf" || (node.kind === "constant" && used.has(node.id))) {
        if (this.isLive(node)) shown.add(this.shownAs(node.id));
      }
    }
    this.visible = [...shown];
    this.edges = [...edges.values()].filter((e) => shown.has(e.from));
    this.steps = this.visibleSteps();
    this.made = new Map();
    this.sent = new Map();
    for (const step of this.steps.all) {
      if (step.kind === "forward") this.made.set(step.node.id, step.index);
      if (step.kind !== "backward") continue;
      const to = this.live(step.message.to).id;
      if (!this.sent.has(to)) this.sent.set(to, []);
      this.sent.get(to).push(step);
    }
  }

  // -- steps --------------------------------------------------------------------------

  /** Every step of the live nodes, and those that can be seen. `position` orders them,
   * the same whether a fused op is unfolded or not. */
  visibleSteps() {
    const all = [{ kind: "start", position: 0 }];
    const outer = (node) => !(this.boxes.get(node.box) || {}).node;
    let position = 0;
    for (const node of this.data.nodes) {
      if (node.kind !== "op" || !outer(node)) continue;
      position += 1;
      const parts = this.parts(node);
      parts.forEach((part, i) => {
        const at = position - 1 + (i + 1) / parts.length;
        all.push({ kind: "forward", node: part, position: at });
      });
    }
    position += 1;
    all.push({ kind: "seed", position });
    const messages = this.data.messages;
    const done = new Set();
    for (const message of messages) {
      const from = this.nodes.get(message.from);
      if (!outer(from)) continue;
      position += 1;
      if (!from.unfolds || !this.open.has(from.unfolds)) {
        all.push({ kind: "backward", message, position });
      } else if (!done.has(from.id)) {
        done.add(from.id);
        const count = messages.filter((m) => m.from === from.id).length;
        const inner = messages.filter((m) => this.nodes.get(m.from).box === from.unfolds);
        inner.forEach((each, i) => {
          const at = position - 1 + ((i + 1) / inner.length) * count;
          all.push({ kind: "backward", message: each, position: at });
        });
      }
    }
    all.push({ kind: "end", position: position + 1 });
    all.forEach((step, i) => {
      step.index = i;
    });
    return { all, seen: this.seen(all) };
  }

  parts(node) {
    if (!node.unfolds || !this.open.has(node.unfolds)) return [node];
    return this.inside.get(node.unfolds).filter((each) => each.kind === "op");
  }

  /** Of a folded box only the last op's step is seen, and the messages that leave it. */
  seen(all) {
    const last = new Map();
    for (const step of all) {
      if (step.kind === "forward") last.set(this.shownAs(step.node.id), step);
    }
    const seen = all.filter((step) => {
      if (step.kind === "forward") return last.get(this.shownAs(step.node.id)) === step;
      if (step.kind !== "backward") return true;
      return this.shownAs(step.message.from) !== this.shownAs(step.message.to);
    });
    return this.withoutRuns(seen);
  }

  /** Of many messages in a row from one folded box to one node, such as from the turns
   * of a loop, only the last. `run` says how many there were. */
  withoutRuns(seen) {
    const way = (step) => {
      if (!step || step.kind !== "backward") return null;
      const from = this.shownAs(step.message.from);
      return this.boxes.has(from) ? `${from} ${this.shownAs(step.message.to)}` : null;
    };
    let run = 0;
    return seen.filter((step, i) => {
      const same = way(step);
      run = same !== null && same === way(seen[i - 1]) ? run + 1 : 1;
      step.run = run;
      return same === null || same !== way(seen[i + 1]);
    });
  }

  /** The place among the seen steps of one that was seen before a box was (un)folded. */
  placeOf(step) {
    const found = this.steps.seen.findIndex(
      (each) => each.kind === step.kind && each.position >= step.position - 1e-9,
    );
    const fallback = this.steps.seen.findIndex((e) => e.position >= step.position - 1e-9);
    return found >= 0 ? found : Math.max(0, fallback);
  }

  // -- what is known at a step --------------------------------------------------------

  /** Whether a node has its value at a step. */
  hasValue(node, step) {
    if (node.kind !== "op") return true;
    return this.made.get(node.id) <= step.index;
  }

  /** The gradient of a node at a step: {array, come, all}, the sum of the messages that
   * have come (its place among the arrays, null before the first), how many, of how many. */
  gradientAt(node, step) {
    if (node.id === this.live(this.data.root).id) {
      const seed = this.steps.all.find((each) => each.kind === "seed");
      const come = Number(seed.index <= step.index);
      return { array: come ? this.data.seed : null, come, all: 1 };
    }
    const messages = this.sent.get(node.id) || [];
    const come = messages.filter((each) => each.index <= step.index);
    const sum = come.length ? come[come.length - 1].message.after : null;
    return { array: sum, come: come.length, all: messages.length };
  }
}
