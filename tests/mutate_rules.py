"""Would the op table notice a wrong gradient rule? Break every rule, and see.

    python tests/mutate_rules.py [--quick]

Every gradient rule of the package, fused bodies and the helpers they call are changed
in one place at a time: a sign flipped, a factor, a term or a call dropped, an axis or
another constant moved, a branch or a comparison turned. The mutant takes the rule's
place in the running process, and the rows of the op table that reach it are checked. A
mutant that no check notices survives. Exits with 1 if one does that is not listed in
EQUIVALENT with its reason, or if a listed one is caught or gone.

--quick takes every tenth mutant only.
"""

from __future__ import annotations

import ast
import copy
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).parent)]

import numpy as np
import op_checks as checks
from op_kinks import KINKS, Kink
from op_table import ROWS, Row

from tinygrad_softmax import ops
from tinygrad_softmax.autograd import PRIMITIVES, graph

ROWS_EACH = 6  # rows that a mutant is tried on; kinks beside them
SECONDS_EACH = 10  # for a mutant that never ends

# Mutants that change no derivative, by the reason; named as a survivor is printed.
EQUIVALENT: dict[str, list[str]] = {
    "the engine sums to the input's shape": [
        "broadcast_to.vjp(x): sum_to(g, shape=x_shape) -> g",
        "matmul.vjp(b): len(b_shape) > 2 -> len(b_shape) >= 2",
        "matmul.vjp(b): 2 -> 1 (number 2)",
        "linear_cross_entropy.vjp(x, weight, bias): sum_to(d, shape=bias.shape) -> d",
    ],
    "0 and -0": [
        "zeros_as: "
        "return namespace(x).zeros_like(x) -> return -namespace(x).zeros_like(x)",
        "pow.vjp(x): return g * 0.0 -> return -(g * 0.0)",
        "copysign.vjp(b): return zeros_as(g) -> return -zeros_as(g)",
    ],
    "a list of axes is as good as a tuple": [
        "permute_dims.vjp(x): tuple(back) -> back",
        "layer_norm.vjp(input, weight, bias): tuple(range(inp...es, input.ndim)) -> "
        "range(input.ndi...xes, input.ndim)",
        "rms_norm.vjp(input, weight): tuple(range(inp...es, input.ndim)) -> "
        "range(input.ndi...xes, input.ndim)",
    ],
    "higher orders in 16 bits: test_nn_layers.py": [
        "layer_norm.vjp(input, weight, bias): wide(input) -> input",
        "layer_norm.vjp(input, weight, bias): wide(g) -> g",
        "rms_norm.vjp(input, weight): wide(input) -> input",
        "rms_norm.vjp(input, weight): wide(g) -> g",
        "batch_norm.vjp(input, weight, bias): wide(input) -> input",
        "batch_norm.vjp(input, weight, bias): wide(g) -> g",
        "group_norm.vjp(input, weight, bias): wide(input) -> input",
        "group_norm.vjp(input, weight, bias): wide(g) -> g",
        "channel_affine.vjp(mean): wide(g) -> g",
        "channel_affine.vjp(scale, shift): wide(input) -> input",
        "channel_affine.vjp(scale, shift): wide(g) -> g",
    ],
    "a gradient that is not needed is dropped": [
        "linear_activation.vjp(input, weight, bias): "
        "_matmul(d, weig...eds[0] else None -> _matmul(d, weight)",
        "linear_activation.vjp(input, weight, bias): "
        "_weight_rule(d,...eds[1] else None -> _weight_rule(d, input)",
        "linear_activation.fused(input, weight, bias): "
        "_matmul(d, weig...eds[0] else None -> _matmul(d, weight)",
        "linear_activation.fused(input, weight, bias): "
        "_weight_rule(d,...eds[1] else None -> _weight_rule(d, input)",
        "group_norm.fused(input, weight, bias): if needs[0] -> if True",
    ],
    "a share of the sum of nothing, 0": [
        "batch_norm.vjp(input, weight, bias): 1 -> 2 (number 2)",
        "batch_norm.fused(input, weight, bias): 1 -> 2 (number 3)",
    ],
    "stands where the other branch of a where is taken": [
        "elu.vjp(x): 0.0 -> 1.0",
        "pow.vjp(a): 1.0 -> 2.0 (number 2)",
        "pow.vjp(b): 1.0 -> 2.0",
        "hypot.vjp(a): 1.0 -> 2.0",
        "hypot.vjp(b): 1.0 -> 2.0",
        "std.vjp(x): 1.0 -> 2.0",
        "norm.vjp(x): 1.0 -> 2.0",
    ],
    "the guard against overflow begins at 1: exp(1) does not overflow": [
        "elu.vjp(x): 0 -> 1 (number 2)",
    ],
    "smoothing by 0 multiplies by 1 and adds 0": [
        "logits_gradient: if label_smoothing -> if True",
    ],
    "any finite number stands in for the logits of an ignored row": [
        "logits_gradient: 0.0 -> 1.0",
    ],
    "where(None, ...) takes the other branch": [
        "_row_factor: if mask is not None -> if True",
    ],
    "the factor of a row does not depend on the smoothing": [
        "_row_factor: 0.0 -> 1.0",
    ],
    "a Python number takes the array's dtype": [
        "_row_factor: dtype.type(value) -> value",
        "mean_scale: dtype.type(1) -> 1",
        "mean_scale: dtype.type(0) -> 0",
    ],
    "NumPy reads every negative length as -1": [
        "_along: 1 -> 2 (number 2)",
        "_first_max: 1 -> 2 (number 2)",
        "row_targets: 1 -> 2 (number 2)",
        "row_targets: 1 -> 2 (number 3)",
    ],
    "the row's factor is 0: any finite number will do": [
        "of_kept_rows: 0.0 -> 1.0",
    ],
    "right labels pass either way; wrong ones: test_cross_entropy.py": [
        "row_targets: if check -> if True",
        "row_targets: if check -> if False",
    ],
    "a short cut to the same rows: test_numpy_kernels.py sees the copy that it saves": [
        "_rows_of_floats: if x.ndim == 2 and axis == 1 -> if False",
        "_rows_of_floats: 2 -> 1",
        "_rows_of_floats: 1 -> 2",
    ],
    "the same number, as an array": [
        "mean_scale: if isinstance(divisor, int) -> if False",
    ],
    "the rows' weights are ones there: their sum is their number": [
        "_divisor: if plain or not targets.are_labels -> if False",
        "_divisor: "
        "plain or not targets.are_labels -> plain and (not targets.are_labels)",
    ],
    "multiplied by a weight of 0: any finite number will do": [
        "target_gradient: 0.0 -> 1.0",
    ],
    "the same axis, counted from the other end": [
        "matmul.vjp(b): -1 -> 1 (number 3)",
        "_rows: -1 -> 1",
        "linear_cross_entropy.fused(x, weight, bias): -1 -> 1",
    ],
    "every letter goes through an identity matrix: the same sum": [
        "einsum.vjp(operands): if letter in seen -> if True",
        "einsum.vjp(operands): letter in seen -> letter not in seen",
    ],
    "a factor of ones more": [
        "einsum.vjp(operands): if letter not i...rm in letters))) -> if True",
        "einsum.vjp(operands): "
        "letter not in o...rm in letters))) -> letter not in o...erm in letters))",
    ],
    "any letters that are not in use will do": [
        "einsum.vjp(operands): "
        "sorted(set(_LET...set(subscripts)) -> set(_LETTERS) - set(subscripts)",
    ],
    "computes what nobody asked for": [
        "linear_cross_entropy.vjp(x, weight, bias): "
        "_matmul(d, weig...eds[0] else None -> _matmul(d, weight)",
        "linear_cross_entropy.vjp(x, weight, bias): "
        "_matmul(swapaxe...eds[1] else None -> _matmul(swapaxes(d, 0, 1), x)",
        "_through_chunks: xp.empty_like(x...eds[0] else None -> xp.empty_like(x)",
        "_through_chunks: "
        "xp.zeros(w.shap...eds[1] else None -> xp.zeros(w.shape, work)",
        "_through_chunks: "
        "xp.zeros(w.shap...eds[2] else None -> xp.zeros(w.shape[0], work)",
        "_through_chunks: "
        "xp.empty(w.shap...eds[1] else None -> xp.empty(w.shape, work)",
        "_through_chunks: logits if any(needs) else None -> logits",
        "_through_chunks: if g is None -> if False",
        "_through_chunks: any(needs) -> needs",
    ],
    "matmul widens one operand to the other's float32": [
        "_logits: cast(x, dtype=work) -> x",
        "_logits: cast(swapaxes(w... 1), dtype=work) -> swapaxes(weight, 0, 1)",
    ],
    "a product that is given no place makes one": [
        "_through_chunks: xp.empty(w.shap...eds[1] else None -> None",
        "_through_chunks: 1 -> 2 (number 2)",
        "_through_chunks: 1 -> 0 (number 2)",
    ],
    "the first chunk's product, added to zeros": [
        "_through_chunks: if dw is not None and (not start) -> if False",
        "_through_chunks: dw is not None -> dw is None",
    ],
    "a short cut to the same product": [
        "matmul.vjp(a): if b.ndim == 2 -> if False",
        "matmul.vjp(b): if a.ndim == 2 -> if False",
        "linear.vjp(weight): if input.ndim == 2 -> if False",
    ],
    "the host leaves no mask of bad labels: test_cupy_double.py has one": [
        "row_targets: bad if bad is N... bad.reshape(-1) -> bad",
        "row_targets: bad.reshape(-1) -> -1",
        "row_targets: -1 -> 1 (number 3)",
        "row_targets: 1 -> 0 (number 3)",
    ],
    "a slice ends where the array does": [
        "_through_chunks: min(start + chunk, n) -> start + chunk",
    ],
    "a larger buffer; only its first rows are used": [
        "_through_chunks: min(chunk, n) -> chunk",
    ],
    "numbering the places finds the same, more slowly": [
        "_stayed: if not _may_repeat(index) -> if False",
    ],
    "every place that is read was written": [
        "_stayed: -1 -> 1",
        "_stayed: 1 -> 2",
        "_stayed: 1 -> 0",
    ],
    "-True is true, and -False false": [
        "_may_repeat: "
        "return any((has...for p in parts)) -> return -any((ha...for p in parts))",
    ],
    "add.at and the numbering are right for every index, only slower": [
        "_may_repeat: "
        "any((hasattr(p,...for p in parts)) -> (hasattr(p, 'dt... for p in parts)",
    ],
    "one device here; two: test_cupy_double.py": [
        "to_device.vjp(x): _to_device(g, d..., origin=device) -> g",
    ],
    "log(1) is 0 already; but at 0 to a negative power, which is infinite": [
        "pow.vjp(b): "
        "where(a == 0, 0... == 0, 1.0, a))) -> out * log(where(a == 0, 1.0, a))",
    ],
    "at a = -1, where the logarithm is nan; and at 0 log(1) is 0 already": [
        "pow.vjp(b): 0 -> -1",
    ],
    "two of them are multiplied": [
        "_products_before: return shifted -> return -shifted",
    ],
    "once more by ones": [
        "_products_before: step < n -> step <= n",
    ],
    "ties are divided by their sum": [
        "_ties: "
        "return (x == ex....astype(x.dtype) -> return -(x == e....astype(x.dtype)",
    ],
}


# -- what is mutated -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Target:
    """A function whose code is part of a gradient: a rule, or a helper of rules.

    functions: those made from this source (a rule in a loop is several).
    ops: the primitives whose gradients it is part of.
    """

    label: str
    path: Path
    tree: ast.AST
    functions: list[FunctionType]
    ops: list[Any]


def targets() -> list[Target]:
    found: dict[tuple, Target] = {}
    ours = [op for op in PRIMITIVES if op.__module__.startswith("tinygrad_softmax")]
    for op in ours:
        for kind, table in (("vjp", op.formulas), ("fused", op.fused_bodies)):
            for inputs, rule in table.items():
                label = f"{op.__name__}.{kind}({', '.join(inputs)})"
                add_target(found, label, rule, op)
                for helper in helpers_of(rule):
                    add_target(found, helper.__name__, helper, op)
    return list(found.values())


def add_target(found: dict, label: str, function: FunctionType, op: Any) -> None:
    key = (function.__code__.co_filename, function.__code__.co_firstlineno, label)
    known = [t for k, t in found.items() if k[:2] == key[:2]]
    if not known:
        path = Path(function.__code__.co_filename)
        found[key] = Target(label, path, source_of(function.__code__), [], [])
        known = [found[key]]
    if not any(function is each for each in known[0].functions):
        known[0].functions.append(function)
    if not any(op is each for each in known[0].ops):
        known[0].ops.append(op)


def helpers_of(rule: FunctionType) -> list[FunctionType]:
    """The private functions of ops/ that a rule calls, and those that they call.

    Of a primitive that is not differentiable (a mask, a count) it is the forward.
    """
    seen: list[FunctionType] = []
    stack = [rule]
    while stack:
        function = stack.pop()
        for name in names_in(function.__code__):
            value = function.__globals__.get(name)
            if hasattr(value, "formulas"):
                value = value.forward if not value.differentiable else None
            if not isinstance(value, FunctionType) or name in ops.__all__:
                continue
            if (
                value.__module__.startswith("tinygrad_softmax.ops")
                and value not in seen
            ):
                seen.append(value)
                stack.append(value)
    return seen


def names_in(code: CodeType) -> list[str]:
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return [*code.co_names, *(name for each in inner for name in names_in(each))]


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def source_of(code: CodeType) -> ast.AST:
    """The function's syntax tree: a FunctionDef or a Lambda."""
    for node in ast.walk(tree_of(code.co_filename)):
        if isinstance(node, ast.Lambda):
            line = node.lineno
        elif isinstance(node, ast.FunctionDef):
            line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        else:
            continue
        if line == code.co_firstlineno:
            return node
    raise LookupError(f"no source at {code.co_filename}:{code.co_firstlineno}")


# -- mutants ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Mutant:
    target: Target
    key: str
    line: int
    tree: ast.AST

    def code(self) -> CodeType:
        return compiled(self.tree)


def mutants_of(target: Target) -> Iterator[Mutant]:
    tree = bare(target.tree)
    nodes, counts = list(ast.walk(tree)), {}
    skipped = {id(n) for r in nodes if is_beside_the_point(r) for n in ast.walk(r)}
    for i, node in enumerate(nodes):
        if id(node) in skipped:
            continue
        for new in variants(node):
            before, after = shown(node), shown(new)
            key = f"{target.label}: {before} -> {after}"
            counts[key] = counts.get(key, 0) + 1
            if counts[key] > 1:
                key += f" (number {counts[key]})"
            mutated = replaced(tree, i, new)
            yield Mutant(target, key, getattr(node, "lineno", 0), mutated)


def is_beside_the_point(node: ast.AST) -> bool:
    """An error, or a keyword that changes no result."""
    return isinstance(node, ast.Raise) or (
        isinstance(node, ast.keyword) and node.arg in ("strict", "copy")
    )


def shown(node: ast.AST, width: int = 34) -> str:
    """The source of a node, without its middle if it is long."""
    condition = node.test if isinstance(node, ast.If) else None
    text = f"if {ast.unparse(condition)}" if condition else ast.unparse(node)
    text, half = " ".join(text.split()), width // 2
    if len(text) <= width:
        return text
    return f"{text[: half - 2]}...{text[-(width - half - 1) :]}"


def bare(tree: ast.AST) -> ast.AST:
    """Without what is no part of the computation: decorators, types, docstring."""
    tree = copy.deepcopy(tree)
    if isinstance(tree, ast.FunctionDef):
        tree.decorator_list, tree.returns = [], None
        if ast.get_docstring(tree) is not None:
            del tree.body[0]
        for argument in (*tree.args.args, *tree.args.kwonlyargs):
            argument.annotation = None
        tree.args.defaults = []
        tree.args.kw_defaults = [None] * len(tree.args.kwonlyargs)
    return tree


def replaced(tree: ast.AST, number: int, new: ast.AST) -> ast.AST:
    """A copy of the tree with node `number`, in ast.walk's order, replaced."""
    tree = copy.deepcopy(tree)
    nodes = list(ast.walk(tree))
    old = nodes[number]
    for parent in nodes:
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                setattr(parent, name, [new if each is old else each for each in value])
    return ast.fix_missing_locations(tree)


def compiled(tree: ast.AST) -> CodeType:
    if isinstance(tree, ast.Lambda):
        tree = ast.Assign([ast.Name("_mutant", ast.Store())], copy.deepcopy(tree))
    else:
        tree = copy.deepcopy(tree)
        tree.name = "_mutant"
    module = ast.fix_missing_locations(ast.Module([tree], []))
    space: dict[str, Any] = {}
    exec(compile(module, "<mutant>", "exec"), space)
    return space["_mutant"].__code__


SWAPPED: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Div: ast.Mult,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPPOSITE = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in place of a node."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        yield node.operand
    elif isinstance(node, ast.BinOp):
        yield node.left
        if not isinstance(node.op, (ast.Div, ast.Pow)):
            yield node.right
        if type(node.op) in SWAPPED:
            yield ast.BinOp(node.left, SWAPPED[type(node.op)](), node.right)
        if isinstance(node.op, ast.MatMult):
            yield ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
        for table in (SWAPPED, OPPOSITE):
            if type(node.ops[0]) in table:
                new = table[type(node.ops[0])]()
                yield ast.Compare(node.left, [new], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(SWAPPED[type(node.op)](), node.values)
    elif isinstance(node, ast.Constant):
        yield from constants(node.value)
    elif isinstance(node, ast.Call):
        yield from calls(node)
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.If):
        for answer in (True, False):
            yield ast.If(ast.Constant(answer), node.body, node.orelse)
    elif isinstance(node, ast.Return) and node.value is not None:
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        for i, value in enumerate(values):
            if isinstance(value, ast.IfExp):
                new: ast.expr = copy.deepcopy(value)
                new.body = ast.UnaryOp(ast.USub(), value.body)  # type: ignore[attr-defined]
            else:
                new = ast.UnaryOp(ast.USub(), value)
            if isinstance(node.value, ast.Tuple):
                new = ast.Tuple([*values[:i], new, *values[i + 1 :]], ast.Load())
            yield ast.Return(new)


def constants(value: Any) -> Iterator[ast.AST]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        yield ast.Constant(value - 1)
    elif isinstance(value, float):
        yield ast.Constant(2.0 * value if value else 1.0)


def calls(node: ast.Call) -> Iterator[ast.AST]:
    args = node.args
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if any(isinstance(each, ast.Starred) for each in args):
        return
    if name == "where":
        yield args[1]
        yield args[2]
        yield ast.Call(node.func, [args[0], args[2], args[1]], [])
    elif args:
        yield args[0]
        if name in ("_matmul", "zip") and len(args) > 1:
            yield ast.Call(node.func, [args[1], args[0], *args[2:]], node.keywords)


# -- who would notice ------------------------------------------------------------------


class Reach:
    """Which rows and kinks reach which primitive."""

    def __init__(self) -> None:
        self.rows: list[tuple[Row, list[Any], float]] = []
        self.kinks: list[tuple[Kink, list[Any]]] = []
        for row in ROWS:
            if not row.differentiable:
                continue
            start = time.perf_counter()
            reached = checks.primitives_of(row, "cpu")
            self.rows.append((row, reached, time.perf_counter() - start))
        for kink in KINKS:
            seen = checks.Seen()
            with graph.observing(seen):
                checks.check_kink(kink, "cpu")
            self.kinks.append((kink, seen.ops))

    def of(self, target: Target) -> tuple[list[Row], list[Kink]]:
        """The op's own rows first, then quick ones."""
        own = {op.__name__ for op in target.ops}
        wanted = {id(op) for op in target.ops}
        rows = [
            (row.name not in own, cost, i, row)
            for i, (row, reached, cost) in enumerate(self.rows)
            if wanted & set(map(id, reached))
        ]
        kinks = [kink for kink, reached in self.kinks if wanted & set(map(id, reached))]
        rows.sort()
        first = [row for not_own, _, _, row in rows if not not_own]
        rest = [row for not_own, _, _, row in rows if not_own]
        return first + rest[: max(0, ROWS_EACH - len(first))], kinks


def is_noticed(mutant: Mutant, rows: list[Row], kinks: list[Kink]) -> bool:
    """Whether a check fails, in any way, with the mutant in place."""
    with in_place(mutant):
        try:
            signal.alarm(SECONDS_EACH)
            run_checks(rows, kinks)
        except Exception:
            return True
        finally:
            signal.alarm(0)
    return False


def run_checks(rows: list[Row], kinks: list[Kink]) -> None:
    for kink in kinks:
        checks.check_kink(kink, "cpu")
    for check in CHECKS:
        for row in rows:
            for k in range(len(row.cases)):
                if row.floating[k]:
                    check(row, k, "cpu")


def half_precision(row: Row, k: int, device: str) -> None:
    if row.takes(k, np.float16):
        checks.check_dtypes(row, k, device, np.float16)
    if row.result == "wide":
        checks.check_computed_in_float32(row, k, device)


CHECKS: tuple[Callable, ...] = (
    checks.check_first,
    checks.check_recorded,
    checks.check_second,
    checks.check_alone,
    half_precision,
)


class in_place:  # noqa: N801
    """Every function of the target runs the mutant's code, until the block ends."""

    def __init__(self, mutant: Mutant) -> None:
        self.functions = mutant.target.functions
        self.before = [function.__code__ for function in self.functions]
        self.code = mutant.code()

    def __enter__(self) -> None:
        for function in self.functions:
            function.__code__ = self.code

    def __exit__(self, *exc: object) -> None:
        for function, code in zip(self.functions, self.before, strict=True):
            function.__code__ = code


def too_long(*_: Any) -> None:
    raise TimeoutError("the mutant never ends")


# -- the run ---------------------------------------------------------------------------


def main() -> int:
    quick = "--quick" in sys.argv[1:]
    warnings.simplefilter("error")
    signal.signal(signal.SIGALRM, too_long)
    start = time.perf_counter()
    equivalent = {key for keys in EQUIVALENT.values() for key in keys}
    reach, survivors, listed = Reach(), [], []
    mutants = [m for target in targets() for m in mutants_of(target)]
    chosen = mutants[::10] if quick else mutants
    print(f"{len(chosen)} mutants of {len(targets())} rules and helpers", flush=True)
    with np.errstate(all="raise", under="ignore"):
        for row, _, _ in reach.rows:  # else every mutant would look caught
            run_checks([row], [])
        for number, mutant in enumerate(chosen, 1):
            rows, kinks = reach.of(mutant.target)
            if not rows and not kinks:
                raise LookupError(f"no row reaches {mutant.target.label}")
            if not is_noticed(mutant, rows, kinks):
                (listed if mutant.key in equivalent else survivors).append(mutant)
            if number % 200 == 0:
                print(f"  {number}, {time.perf_counter() - start:.0f} s", flush=True)
    caught = len(chosen) - len(survivors) - len(listed)
    print(
        f"{caught} caught, {len(listed)} equivalent, {len(survivors)} survived, "
        f"in {time.perf_counter() - start:.0f} s"
    )
    for mutant in survivors:
        place = f"{mutant.target.path.name}:{mutant.line}"
        print(f"survived: {place}: {mutant.key}")
    stale = set() if quick else equivalent - {mutant.key for mutant in listed}
    for key in sorted(stale):
        print(f"listed as equivalent, but caught or gone: {key}")
    return 1 if survivors or stale else 0


if __name__ == "__main__":
    sys.exit(main())
