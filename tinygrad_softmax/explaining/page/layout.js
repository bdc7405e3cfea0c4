// A layered layout, left to right (Sugiyama, Tagawa & Toda, 1981), of boxes in boxes.
//
// Every open box is laid out by itself and then is one large item of the box around it.
// What comes into a box does so at a port on its left side, one for each source, and
// what leaves it at a port on its right side.

const GAP = 60; // between layers
const SPACE = 16; // between items of a layer
const PAD = 14; // between a box and what is in it
const HEAD = 26; // for its title
const SWEEPS = 6;

/**
 * items: [{id, width, height, box, source}], source for what has no inputs of its own.
 * boxes: [{id, parent, title}], the open ones. edges: [{from, to}], ids of items.
 * titleWidth: a function. Returns {width, height, items: Map, boxes: Map, paths}, with
 * x and y of each item and box, and for each edge its points.
 */
export function layout(items, boxes, edges, titleWidth) {
  const tree = buildTree(items, boxes);
  const parts = edges.map((edge) => linkUp(tree, edge));
  layOutBox(tree.root, titleWidth);
  const placed = { items: new Map(), boxes: new Map() };
  settle(tree.root, 0, 0, placed);
  const paths = parts.map((links) => links.flatMap((link) => pointsOf(link)));
  return { width: tree.root.width, height: tree.root.height, paths, ...placed };
}

function buildTree(items, boxes) {
  const make = (box) => ({
    id: box ? box.id : null, box, children: [], links: new Map(), inner: true,
  });
  const root = make(null);
  const all = new Map(boxes.map((box) => [box.id, make(box)]));
  const parentOf = (id) => all.get(id) || root;
  for (const box of boxes) attach(all.get(box.id), parentOf(box.parent));
  const leaves = new Map();
  for (const item of items) {
    const leaf = { ...item, inner: false };
    leaves.set(item.id, leaf);
    attach(leaf, parentOf(item.box));
  }
  return { root, leaves };
}

function attach(child, parent) {
  child.parent = parent;
  parent.children.push(child);
}

/** The links of one edge, one in each box that it passes, from its source outwards and
 * then inwards. Edges from the same source share them. */
function linkUp(tree, edge) {
  const source = tree.leaves.get(edge.from);
  const target = tree.leaves.get(edge.to);
  const above = new Set();
  for (let box = source.parent; box; box = box.parent) above.add(box);
  let common = target.parent;
  while (!above.has(common)) common = common.parent;
  const links = [];
  let child = source;
  for (let box = source.parent; box !== common; box = box.parent) {
    links.push(link(box, child, port(box, "out", edge.from), edge.from));
    child = box;
  }
  const inwards = [];
  let end = target;
  for (let box = target.parent; box !== common; box = box.parent) {
    inwards.unshift(link(box, port(box, "in", edge.from), end, edge.from));
    end = box;
  }
  return [...links, link(common, child, end, edge.from), ...inwards];
}

function port(box, side, source) {
  const ports = box[side] || (box[side] = new Map());
  if (!ports.has(source)) {
    ports.set(source, { id: `${side} ${source}`, side, width: 0, height: 2, parent: box });
  }
  return ports.get(source);
}

function link(box, from, to, source) {
  const key = `${from.id || from.box.id}|${to.id || to.box.id}|${source}`;
  if (!box.links.has(key)) box.links.set(key, { box, from, to, source });
  return box.links.get(key);
}

// -- one box -----------------------------------------------------------------------------

function layOutBox(box, titleWidth) {
  for (const child of box.children) if (child.inner) layOutBox(child, titleWidth);
  const ins = [...(box.in || new Map()).values()];
  const outs = [...(box.out || new Map()).values()];
  const all = [...ins, ...box.children, ...outs];
  const links = [...box.links.values()];
  rank(all, links, ins, outs);
  const layers = intoLayers(all);
  for (const each of links) threadThrough(each, layers);
  order(layers);
  placeDown(layers);
  placeAcross(box, layers, titleWidth);
}

/** The layer of each item: one more than that of what it comes from. What has no inputs
 * stands just before the first that uses it. */
function rank(all, links, ins, outs) {
  const into = new Map(all.map((each) => [each, []]));
  const from = new Map(all.map((each) => [each, []]));
  for (const each of links) {
    into.get(each.to).push(each.from);
    from.get(each.from).push(each.to);
  }
  const waiting = new Map(all.map((each) => [each, into.get(each).length]));
  const ready = all.filter((each) => waiting.get(each) === 0);
  for (const each of all) each.rank = 0;
  while (ready.length) {
    const each = ready.shift();
    for (const next of from.get(each)) {
      next.rank = Math.max(next.rank, each.rank + 1);
      waiting.set(next, waiting.get(next) - 1);
      if (waiting.get(next) === 0) ready.push(next);
    }
  }
  for (const each of all) {
    const users = from.get(each);
    if (each.inner || ins.includes(each) || into.get(each).length || !users.length) continue;
    each.rank = Math.min(...users.map((user) => user.rank)) - 1;
  }
  const ranks = all.filter((each) => !outs.includes(each)).map((each) => each.rank);
  const last = Math.max(0, ...ranks) + 1;
  for (const each of outs) each.rank = last;
}

function intoLayers(all) {
  const layers = [];
  for (const each of all) {
    while (layers.length <= each.rank) layers.push([]);
    layers[each.rank].push(each);
    each.before = [];
    each.after = [];
  }
  return layers;
}

/** Give a link a bend in each layer that it passes; links from one source share them. */
function threadThrough(each, layers) {
  const start = each.from;
  start.bends = start.bends || new Map();
  let last = { item: start, at: () => outOffset(start, each.source) };
  each.chain = [last];
  for (let i = start.rank + 1; i < each.to.rank; i += 1) {
    const key = `${each.source} ${i}`;
    let bend = start.bends.get(key);
    if (!bend) {
      bend = { bend: true, width: 0, height: 2, before: [], after: [], rank: i };
      start.bends.set(key, bend);
      layers[i].push(bend);
      join(last, { item: bend, at: () => 1 });
    }
    last = { item: bend, at: () => 1 };
    each.chain.push(last);
  }
  const end = { item: each.to, at: () => inOffset(each.to, each.source) };
  join(last, end);
  each.chain.push(end);
}

function join(a, b) {
  a.item.after.push({ item: b.item, mine: a.at, theirs: b.at });
  b.item.before.push({ item: a.item, mine: b.at, theirs: a.at });
}

/** Where a link leaves an item, and where one enters it: its middle, or a box's port. */
function outOffset(item, source) {
  return item.inner ? item.out.get(source).y + 1 : item.height / 2;
}

function inOffset(item, source) {
  return item.inner ? item.in.get(source).y + 1 : item.height / 2;
}

// -- the order within layers -----------------------------------------------------------

function order(layers) {
  let best = null;
  const number = () => {
    for (const layer of layers) layer.forEach((each, i) => (each.place = i));
  };
  number();
  for (let sweep = 0; sweep < 2 * SWEEPS; sweep += 1) {
    const crossed = layers.reduce((sum, layer) => sum + crossings(layer), 0);
    if (best === null || crossed < best.crossed) {
      best = { crossed, layers: layers.map((layer) => [...layer]) };
    }
    if (crossed === 0) break;
    const down = sweep % 2 === 0;
    const sequence = down ? layers : [...layers].reverse();
    for (const layer of sequence) {
      const near = down ? "before" : "after";
      for (const each of layer) {
        const places = each[near].map((n) => n.item.place + n.theirs() / (n.item.height + 1));
        each.wish = places.length ? places.reduce((a, b) => a + b) / places.length : each.place;
      }
      layer.sort((a, b) => a.wish - b.wish || a.place - b.place);
      layer.forEach((each, i) => (each.place = i));
    }
  }
  best.layers.forEach((layer, i) => layers[i].splice(0, layers[i].length, ...layer));
  number();
}

function crossings(layer) {
  const ends = layer.flatMap((each) =>
    each.after.map((n) => [each.place + n.mine() / (each.height + 1),
      n.item.place + n.theirs() / (n.item.height + 1)]),
  );
  let count = 0;
  for (let i = 0; i < ends.length; i += 1) {
    for (let j = 0; j < i; j += 1) {
      if ((ends[i][0] - ends[j][0]) * (ends[i][1] - ends[j][1]) < 0) count += 1;
    }
  }
  return count;
}

// -- coordinates -----------------------------------------------------------------------

function placeDown(layers) {
  for (const layer of layers) {
    let y = 0;
    for (const each of layer) {
      each.y = y;
      y += each.height + SPACE;
    }
  }
  for (let sweep = 0; sweep < 2 * SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    const near = down ? "before" : "after";
    for (const layer of down ? layers : [...layers].reverse()) {
      for (const each of layer) {
        const found = each[near].length ? each[near] : each.before.concat(each.after);
        const wishes = found.map((n) => n.item.y + n.theirs() - n.mine());
        each.wish = wishes.length ? wishes.reduce((a, b) => a + b) / wishes.length : each.y;
      }
      spread(layer);
    }
  }
  const top = Math.min(0, ...layers.flat().map((each) => each.y));
  for (const each of layers.flat()) each.y -= top;
}

/** The places nearest to what items wish for, in order and without overlap: the blocks
 * of least squares, by pooling neighbours that would overlap. */
function spread(layer) {
  const blocks = [];
  let offset = 0;
  for (const each of layer) {
    blocks.push({ items: [[each, offset]], sum: each.wish - offset, count: 1 });
    offset += each.height + SPACE;
    while (blocks.length > 1) {
      const [a, b] = blocks.slice(-2);
      if (a.sum / a.count <= b.sum / b.count) break;
      blocks.splice(-2, 2, {
        items: [...a.items, ...b.items], sum: a.sum + b.sum, count: a.count + b.count,
      });
    }
  }
  for (const block of blocks) {
    for (const [each, shift] of block.items) each.y = block.sum / block.count + shift;
  }
}

function placeAcross(box, layers, titleWidth) {
  const head = box.box ? HEAD : 0;
  let x = box.box ? PAD : 0;
  layers.forEach((layer, i) => {
    const width = Math.max(0, ...layer.map((each) => each.width));
    for (const each of layer) {
      each.x = x + (width - each.width) * (each.source ? 1 : 0.5);
      if (each.side === "in") each.x = 0;
      each.left = each.side === "in" ? 0 : x;
      each.right = x + width;
      each.y += PAD + head;
    }
    const narrow = layer.every((each) => each.side) || (layers[i + 1] || []).every((e) => e.side);
    x += width + (i + 1 < layers.length ? (narrow ? PAD : GAP) : 0);
  });
  const outs = box.out && box.out.size;
  box.width = Math.max(x + (outs || !box.box ? 0 : PAD), box.box ? titleWidth(box.box) : 0);
  if (outs) for (const each of box.out.values()) each.x = box.width;
  const bottom = Math.max(0, ...layers.flat().map((each) => each.y + each.height));
  box.height = bottom + PAD;
}

function settle(box, x, y, placed) {
  box.absolute = [x, y];
  for (const child of box.children) {
    const place = { x: x + child.x, y: y + child.y, width: child.width, height: child.height };
    if (child.inner) {
      placed.boxes.set(child.id, place);
      settle(child, place.x, place.y, placed);
    } else {
      placed.items.set(child.id, place);
    }
  }
}

/** A link's points: at its ends, and where it enters and leaves each layer between. */
function pointsOf(each) {
  const [x, y] = each.box.absolute;
  const points = [];
  each.chain.forEach(({ item, at }, i) => {
    const height = y + item.y + at();
    if (i === 0) {
      points.push([x + item.x + item.width, height]);
      if (item.right > item.x + item.width) points.push([x + item.right, height]);
    } else if (i === each.chain.length - 1) {
      if (item.left < item.x) points.push([x + item.left, height]);
      points.push([x + item.x, height]);
    } else {
      points.push([x + item.left, height], [x + item.right, height]);
    }
  });
  return points;
}

/** A smooth line through points, as the d of a path: level at each of them. */
export function curve(points) {
  const parts = [`M${points[0].map(round)}`];
  for (let i = 1; i < points.length; i += 1) {
    const [[x0, y0], [x1, y1]] = [points[i - 1], points[i]];
    if (Math.abs(y0 - y1) < 0.5 || x1 - x0 < 1) {
      parts.push(`L${round(x1)},${round(y1)}`);
    } else {
      const half = (x0 + x1) / 2;
      parts.push(`C${[half, y0, half, y1, x1, y1].map(round)}`);
    }
  }
  return parts.join("");
}

/** A point of a line of straight pieces: `share` of its length from the start. */
export function pointAlong(points, share) {
  const lengths = points.slice(1).map((p, i) => Math.hypot(p[0] - points[i][0], p[1] - points[i][1]));
  let rest = lengths.reduce((a, b) => a + b, 0) * share;
  for (let i = 0; i < lengths.length; i += 1) {
    if (rest <= lengths[i] && lengths[i] > 0) {
      const part = rest / lengths[i];
      return [0, 1].map((k) => points[i][k] + part * (points[i + 1][k] - points[i][k]));
    }
    rest -= lengths[i];
  }
  return points[points.length - 1];
}

function round(value) {
  return Math.round(value * 10) / 10;
}
