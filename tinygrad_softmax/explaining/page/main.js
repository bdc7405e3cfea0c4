// The page as a whole: its state, its controls, and what is drawn when.

import { replace } from "./dom.js";
import { Graph } from "./graph.js";
import { inspectorOf } from "./inspector.js";
import { Ledger } from "./ledger.js";
import { Model } from "./model.js";
import { headingOf, storyOf } from "./story.js";
import { LANGUAGES, language, remark, setLanguage, setWords, t } from "./words.js";

const find = (id) => document.getElementById(id);

export class Page {
  constructor(data, words, remarks) {
    setWords(words, remarks);
    setLanguage((navigator.language || "en").startsWith("zh") ? "zh" : "en");
    this.model = new Model(data);
    this.place = 0; // among the seen steps
    this.state = { selected: this.model.shownAs(data.root), picked: 0, nudge: 1 };
    const act = {
      select: (id) => this.select(id),
      toggle: (box) => this.toggle(box),
      pick: (index) => this.pick(index),
      setNudge: (nudge) => this.change({ nudge }, ".choices [aria-pressed=true]"),
    };
    this.act = act;
    this.graph = new Graph(find("graph"), this.model, act);
    this.ledger = new Ledger(find("ledger"), this.model, (place) => this.go(place));
    this.listen();
    this.drawWords();
    this.drawGraph();
    this.graph.fit(0.7);
    this.go(0);
  }

  get step() {
    return this.model.steps.seen[this.place];
  }

  listen() {
    const { seen } = this.model.steps;
    const last = () => this.model.steps.seen.length - 1;
    find("first").addEventListener("click", () => this.go(0));
    find("back").addEventListener("click", () => this.go(this.place - 1));
    find("next").addEventListener("click", () => this.go(this.place + 1));
    find("last").addEventListener("click", () => this.go(last()));
    find("slider").max = seen.length - 1;
    find("slider").addEventListener("input", (event) => this.go(Number(event.target.value)));
    find("language").addEventListener("click", () => this.nextLanguage());
    find("smaller").addEventListener("click", () => this.zoom(0.8));
    find("larger").addEventListener("click", () => this.zoom(1.25));
    find("fit").addEventListener("click", () => this.zoom(0));
    find("open-all").addEventListener("click", () => this.toggleAll(true));
    find("close-all").addEventListener("click", () => this.toggleAll(false));
    document.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.tagName === "INPUT" || event.target.closest("[role=grid]")) return;
    const goal = {
      ArrowLeft: this.place - 1, ArrowRight: this.place + 1,
      Home: 0, End: this.model.steps.seen.length - 1,
    }[event.key];
    if (goal === undefined) return;
    event.preventDefault();
    this.go(goal);
  }

  /** Go to a step, and select what it is about. */
  go(place) {
    const last = this.model.steps.seen.length - 1;
    this.place = Math.min(last, Math.max(0, place));
    const { step } = this;
    const focus = this.focusOf(step);
    if (focus.length) Object.assign(this.state, { selected: focus[focus.length - 1], picked: 0 });
    this.show();
    this.graph.reveal(focus);
    find("live").textContent = find("step-heading").textContent;
  }

  focusOf(step) {
    const { model } = this;
    if (step.kind === "forward") return [model.shownAs(step.node.id)];
    if (step.kind === "backward") return [step.message.from, step.message.to].map((id) => model.shownAs(id));
    return step.kind === "start" ? [] : [model.shownAs(model.data.root)];
  }

  select(id) {
    this.state = { ...this.state, selected: id, picked: 0 };
    this.show();
    this.graph.reveal([id]);
  }

  pick(index) {
    this.change({ picked: index }, `#node [data-flat="${index}"]`);
  }

  /** Change what is chosen in the node's panel, and leave the focus there. */
  change(part, focus) {
    this.state = { ...this.state, ...part };
    this.show();
    const found = document.querySelector(focus);
    if (found) found.focus({ preventScroll: true });
  }

  toggle(box) {
    this.refold(() => this.model.toggle(box));
    const target = this.model.open.has(box)
      ? document.querySelector(`[data-box="${box}"]`) : this.graph.nodes.get(this.state.selected).group;
    if (target) target.focus({ preventScroll: true });
  }

  toggleAll(open) {
    this.refold(() => this.model.toggleAll(open));
  }

  /** Fold or unfold, and stay at the same moment, with the same node or what hides it. */
  refold(change) {
    const { step } = this;
    change();
    this.place = this.model.placeOf(step);
    find("slider").max = this.model.steps.seen.length - 1;
    const { selected } = this.state;
    this.state.selected = this.model.boxes.has(selected)
      ? this.shownBox(selected) : this.model.shownAs(selected);
    this.drawGraph();
    if (this.graph.wholeZoom() > 0.6) this.graph.fit();
    this.show();
    this.graph.reveal([this.state.selected]);
  }

  /** What is shown for a box: itself where it is folded, else its last op. */
  shownBox(id) {
    if (this.model.visible.includes(id)) return id;
    const ops = this.model.inside.get(id).filter((node) => node.kind === "op");
    return this.model.shownAs(ops[ops.length - 1].id);
  }

  zoom(factor) {
    if (factor) this.graph.setZoom(Math.min(2, Math.max(0.2, this.graph.zoom * factor)));
    else this.graph.fit();
    this.graph.reveal([this.state.selected]);
  }

  nextLanguage() {
    setLanguage(LANGUAGES[(LANGUAGES.indexOf(language()) + 1) % LANGUAGES.length]);
    this.drawWords();
    this.drawGraph();
    this.show();
    this.graph.reveal([this.state.selected]);
  }

  /** The words that stand on the page itself. */
  drawWords() {
    for (const element of document.querySelectorAll("[data-words]")) {
      element.textContent = t(element.dataset.words);
    }
    for (const element of document.querySelectorAll("[data-label]")) {
      element.setAttribute("aria-label", t(element.dataset.label));
      element.setAttribute("title", t(element.dataset.label));
    }
    const { data } = this.model;
    document.title = find("title").textContent = remark(data.title);
    const ops = data.nodes.filter((node) => node.kind === "op" && !node.id.includes("."));
    const leaves = data.nodes.filter((node) => node.kind === "leaf");
    find("counts").textContent = t("counts", { ops: ops.length, leaves: leaves.length });
    find("record-hint").hidden = data.recorded >= ops.length;
    const folds = data.boxes.some((box) => box.kind !== "fused");
    find("open-all").hidden = !folds;
    find("close-all").hidden = !folds;
  }

  drawGraph() {
    this.graph.draw();
    this.ledger.draw();
  }

  show() {
    const { model, step, place, state } = this;
    const count = model.steps.seen.length;
    const heading = headingOf(model, step, ...this.placeInPhase());
    find("step-heading").textContent = heading;
    replace(find("step"), storyOf(model, step, this.act).flat(Infinity));
    replace(find("node"), inspectorOf(model, step, state, this.act).flat(Infinity));
    // What scrolls must be reached by keyboard too.
    for (const each of document.querySelectorAll(".formula")) {
      if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
    }
    this.graph.show(step, state.selected);
    this.ledger.show(place);
    const slider = find("slider");
    slider.value = place;
    slider.setAttribute("aria-valuetext", heading);
    // (A disabled button would lose the focus.)
    for (const id of ["first", "back"]) find(id).setAttribute("aria-disabled", place === 0);
    for (const id of ["next", "last"]) find(id).setAttribute("aria-disabled", place === count - 1);
    find("phase").textContent = t("phase", { place, count: count - 1 });
    document.body.dataset.phase = step.kind;
  }

  /** Which one of the forward or backward steps it is, and of how many. */
  placeInPhase() {
    const same = this.model.steps.seen.filter((each) => each.kind === this.step.kind);
    return [same.indexOf(this.step) + 1, same.length];
  }
}

function read(id) {
  return JSON.parse(find(id).textContent);
}

if (typeof document !== "undefined") {
  const started = performance.now();
  window.page = new Page(read("data"), read("words"), read("remarks"));
  document.body.dataset.drawn = Math.round(performance.now() - started);
}
