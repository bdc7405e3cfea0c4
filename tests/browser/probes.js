// What the tests ask of an open page. Put into the page by chromium.py.

window.probes = {
  /** What the page says that it shows, to know what to expect. */
  focused() {
    const e = document.activeElement;
    return e.id || e.dataset.id || e.dataset.box || e.className || e.tagName;
  },

  /** The heat maps in a part of the page: caption, numbers, and what is written. */
  maps(where) {
    return [...document.querySelectorAll(`${where} .heat`)].map((heat) => {
      const cells = [...heat.querySelectorAll("td.cell")];
      return [
        heat.dataset.name,
        cells.map((td) => JSON.parse(td.dataset.value)),
        cells.map((td) => td.textContent),
      ];
    });
  },

  labels() {
    return [...document.querySelectorAll(".node")].map((n) => n.getAttribute("aria-label"));
  },

  unfoldFused() {
    for (const box of page.model.data.boxes) if (box.kind === "fused") page.toggle(box.id);
  },

  /** Name, left, top, right and bottom of elements. */
  boxes(selector) {
    return [...document.querySelectorAll(selector)].map((e) => {
      const r = e.getBoundingClientRect();
      const name = e.dataset.id || e.id || e.textContent.slice(0, 40);
      return [name, r.left, r.top, r.right, r.bottom];
    });
  },

  /** What reaches beyond the node that it is in. */
  outOfNodes() {
    return [...document.querySelectorAll("#graph .node")].flatMap((node) => {
      const shape = node.querySelector(".shape").getBoundingClientRect();
      const beyond = (part) => {
        const r = part.getBoundingClientRect();
        return r.left < shape.left || r.right > shape.right + 0.5
          || r.top < shape.top - 0.5 || r.bottom > shape.bottom + 0.5;
      };
      const parts = [...node.querySelectorAll("text, .thumb")];
      return parts.filter(beyond).map((part) => `${node.dataset.id} ${part.textContent}`);
    });
  },

  /** Boxes and nodes where one is not wholly in the other, or wholly apart. */
  misplaced() {
    const { plan, model } = page.graph;
    const found = [];
    for (const [id, frame] of plan.boxes) {
      for (const [item, place] of plan.items) {
        const node = model.nodes.get(item);
        const around = node ? node.box : model.boxes.get(item).parent;
        const member = model.around(around).some((box) => box.id === id);
        const [right, bottom] = [place.x + place.width, place.y + place.height];
        const [end, floor] = [frame.x + frame.width, frame.y + frame.height];
        const inside = place.x >= frame.x && right <= end && place.y >= frame.y && bottom <= floor;
        const apart = right <= frame.x || place.x >= end || bottom <= frame.y || place.y >= floor;
        if (member ? !inside : !apart) found.push([id, item]);
      }
    }
    return found;
  },

  lines() {
    return [...page.graph.paths.values()].map((each) => each.points);
  },

  /** Edges that cross nodes that they don't belong to. */
  crossings() {
    const found = new Set();
    for (const [key, { path }] of page.graph.paths) {
      const ends = key.split(" ");
      for (let i = 0; i <= path.getTotalLength(); i += 3) {
        const { x, y } = path.getPointAtLength(i);
        for (const [id, p] of page.graph.plan.items) {
          const within = x > p.x + 1 && x < p.x + p.width - 1
            && y > p.y + 1 && y < p.y + p.height - 1;
          if (within && !ends.includes(id)) found.add(`${key} over ${id}`);
        }
      }
    }
    return [...found];
  },

  /** Elements that reach beyond the screen, or hold more than they show. */
  cutOff() {
    const scrolls = "#graph, .scroll, .formula, #ledger, .unseen, .skip";
    return [...document.querySelectorAll("body *")].filter((e) => {
      if (e.closest(scrolls) || !e.getClientRects().length) return false;
      const r = e.getBoundingClientRect();
      return r.right > innerWidth + 0.5 || r.left < -0.5
        || (e.clientWidth && e.scrollWidth > e.clientWidth + 1);
    }).map((e) => `${e.tagName}#${e.id} ${e.textContent.slice(0, 40)}`);
  },

  timeToUnfold() {
    const start = performance.now();
    page.toggleAll(true);
    document.body.getBoundingClientRect();
    return performance.now() - start;
  },
};
