// Numbers and shapes as text. Arrays come from the library as {shape, dtype, values},
// large ones with corners and a histogram instead of values; what JSON cannot say is
// the text "nan", "inf" or "-inf".

export const MINUS = "\u2212";

/** A number with so many significant digits: 0.8415, −1.2e−7, nan. */
export function numberText(value, digits = 4) {
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return value.replace("-", MINUS).replace("inf", "\u221e");
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return signed(String(value));
  const rounded = Number(value.toPrecision(digits));
  const small = rounded !== 0 && Math.abs(rounded) < 1e-3;
  return signed(String(small ? shortExponent(rounded, digits) : rounded));
}

/** 0.00012 as 1.2e-4. */
function shortExponent(value, digits) {
  return value.toExponential(digits - 1).replace(/\.?0+e/, "e");
}

/** All digits that the number has. */
export function exactText(value) {
  return typeof value === "number" ? signed(String(value)) : numberText(value);
}

function signed(text) {
  return (text === "-0" ? "0" : text).replace(/-/g, MINUS);
}

/** A number that can be computed with: text becomes NaN or an infinity. */
export function asNumber(value) {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "number") return value;
  return { nan: NaN, inf: Infinity, "-inf": -Infinity }[value];
}

/** "4×1"; "" for a scalar. */
export function shapeText(shape) {
  return shape.length === 1 ? `(${shape[0]})` : shape.join("\u00d7");
}

export function sizeText(bytes) {
  if (bytes < 10000) return `${bytes} B`;
  const units = ["kB", "MB", "GB"];
  let size = bytes / 1000;
  let unit = 0;
  while (size >= 1000 && unit < 2) {
    size /= 1000;
    unit += 1;
  }
  return `${numberText(size, 3)} ${units[unit]}`;
}

/** The elements of an array as rows: a vector is one row, and the leading axes of more
 * than two run down. null for an array that is only summarised. */
export function rowsOf(array) {
  if (array.values === undefined) return null;
  const { shape, values } = array;
  if (shape.length === 0) return [[values]];
  if (shape.length === 1) return [values];
  let rows = values;
  for (let i = 2; i < shape.length; i += 1) rows = rows.flat();
  return rows;
}

/** The index of a cell, as the program would write it: "[1, 0]". */
export function indexText(shape, row, column) {
  if (shape.length === 0) return "";
  if (shape.length === 1) return `[${column}]`;
  const index = [column];
  let rest = row;
  for (let axis = shape.length - 2; axis >= 0; axis -= 1) {
    index.unshift(rest % shape[axis]);
    rest = Math.floor(rest / shape[axis]);
  }
  return `[${index.join(", ")}]`;
}

/** An array on one line, if it is short: "[1, −4, 1, 1]"; else "". */
export function lineText(array, most = 8) {
  const rows = rowsOf(array);
  if (rows === null || rows.length * (rows[0] || []).length > most) return "";
  if (array.shape.length === 0) return numberText(rows[0][0]);
  return `[${rows.flat().map((x) => numberText(x, 3)).join(", ")}]`;
}

/** The largest finite magnitude in an array. */
export function largest(array) {
  const rows = rowsOf(array);
  const all = rows ? rows.flat() : [array.min, array.max, ...array.corners.flat()];
  const finite = all.map(asNumber).filter(Number.isFinite).map(Math.abs);
  return finite.reduce((a, b) => Math.max(a, b), 0);
}

/** The colour of a number, as a class: "p1" to "p4", "n1" to "n4", "zero", "odd". */
export function colorOf(value, top) {
  const x = asNumber(value);
  if (!Number.isFinite(x)) return "odd";
  if (x === 0 || top === 0) return "zero";
  const level = Math.min(4, Math.max(1, Math.ceil((Math.abs(x) / top) * 4)));
  return (x > 0 ? "p" : "n") + level;
}
