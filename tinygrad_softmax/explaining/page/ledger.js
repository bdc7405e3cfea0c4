// All steps in a list, each a button that goes there.

import { h, replace } from "./dom.js";
import { nameOf, shortened } from "./graph.js";
import { lineText, shapeText } from "./numbers.js";
import { t } from "./words.js";

export class Ledger {
  constructor(place, model, go) {
    Object.assign(this, { place, model, go });
  }

  draw() {
    const { model } = this;
    this.buttons = model.steps.seen.map((step, i) => {
      const [what, result] = this.line(step);
      return h("button", { type: "button", class: step.kind, onclick: () => this.go(i) },
        h("span", { class: "what" }, what), h("span", { class: "numbers" }, result));
    });
    replace(this.place, this.buttons.map((button) => h("li", {}, button)));
  }

  line(step) {
    const { model } = this;
    const { arrays } = model.data;
    const inShort = (place) => (place === null ? t("notComputed")
      : lineText(arrays[place], 6) || shapeText(arrays[place].shape));
    const shown = (id) => shortened(nameOf(model, model.shownAs(id)), 22);
    if (step.kind === "forward") {
      return [shown(step.node.id), inShort(step.node.value)];
    }
    if (step.kind === "backward") {
      const { message } = step;
      const plus = message.before === null ? "" : "+ ";
      return [`${shown(message.from)} \u2192 ${shown(message.to)}`, plus + inShort(message.arrived)];
    }
    if (step.kind === "seed") return [t("ledgerSeed"), inShort(model.data.seed)];
    return [t(step.kind === "start" ? "ledgerStart" : "ledgerEnd"), ""];
  }

  show(place) {
    this.buttons.forEach((button, i) => {
      button.classList.toggle("done", i < place);
      if (i === place) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    });
    const current = this.buttons[place].parentElement;
    const box = this.place.getBoundingClientRect();
    const own = current.getBoundingClientRect();
    if (own.top < box.top || own.bottom > box.bottom) {
      this.place.scrollTop += own.top - box.top - (box.height - own.height) / 2;
    }
  }
}
