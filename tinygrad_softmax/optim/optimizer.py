"""What every optimizer shares: parameter groups, state, and the step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from ..autograd import enable_grad
from ..backends import namespace
from ..backends.updates import Rule
from ..tensor import Tensor
from .flat import Array, FlatGroup
from .loading import check_state_dict, loaded_groups

__all__ = ["Optimizer"]


class Optimizer:
    """The base of every optimizer, `torch.optim.Optimizer`.

    A subclass is written in one of two ways. As in PyTorch it may define `step`, which
    reads `param_groups`, changes parameters under `tg.no_grad()`, and keeps in
    `state[parameter]` what it likes. Or it names what it remembers, `state_arrays`, and
    gives the rule for one step, `update`, in plain array code. The rule is then called
    on flat arrays that hold many parameters one after the other, so it must work
    element by element.

    >>> import tinygrad_softmax as tg
    >>> class SignDescent(Optimizer):
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, {"lr": lr})
    ...     def update(self, group, array, grad, state, scratch):
    ...         array -= group["lr"] * tg.sign(grad)
    >>> x = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> SignDescent([x]).step()
    >>> x.tolist() == tg.tensor([0.9, -1.9]).tolist()
    True

    For an optimizer with a rule, `parameter.array` becomes a view of a flat array when
    the optimizer is made: what else shared memory with the parameter, such as an
    earlier `state_dict()` of the model, keeps the old values. Writing to a parameter in
    place is seen, and so is a new `parameter.array` (`Module.to`): then the flat arrays
    are made anew, with the values and the state. A parameter without a gradient is left
    exactly as it is. 16-bit parameters and their state are stored in 16 bits, and a
    step computes in float32 and rounds once; PyTorch rounds after each operation.

    PyTorch's switches `foreach`, `fused`, `capturable` and `differentiable`, tensors as
    options, and its hooks are left out; a loaded state may have the switches.

    Args:
        params: Tensors, or (name, Tensor) pairs, or dicts, each with "params" and the
            options in which a group differs from the defaults.
        defaults: the options of a group that does not give them.

    Attributes:
        param_groups: a dict for each group: "params" and its options, which may be
            changed between steps.
        state: for each parameter, a dict of what is remembered of it, by PyTorch's
            names, in tensors.
        defaults: as given.

    Raises:
        TypeError: `params` is a Tensor, or something in it is none.
        ValueError: there are no parameters, one is given twice or was computed (is no
            leaf), or only some have names.
    """

    # The arrays that are kept for each parameter, and the option that wants each.
    state_arrays: ClassVar[dict[str, str | None]] = {}
    # The numbers that are kept for each parameter.
    state_counters: ClassVar[tuple[str, ...]] = ("step",)
    # Whether `update` may run on several threads at once, each with blocks of its own.
    shares_blocks: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        """What a class says of its update does not hold for a subclass's own."""
        super().__init_subclass__(**options)
        if "update" in vars(cls) or "rule" in vars(cls):
            for name in ("shares_blocks", "leaves_gradient"):
                if name not in vars(cls):
                    setattr(cls, name, vars(Optimizer)[name])

    def __init__(
        self, params: Iterable[Any], defaults: dict[str, Any] | None = None
    ) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor):
            raise TypeError(
                f"{name} got one Tensor; expected several parameters; mend: put it in "
                f"a list, [parameter]"
            )
        self.defaults: dict[str, Any] = {} if defaults is None else defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._flat_groups: list[FlatGroup] = []
        self.step_was_called = False  # asked by learning rate schedulers
        self.check_options(self.defaults)
        if hasattr(params, "parameters"):
            raise TypeError(
                f"{name} got a {type(params).__name__}; expected its parameters; mend: "
                f"model.parameters()"
            )
        groups = list(params)
        if not groups:
            raise ValueError(
                f"{name} got no parameters; mend: give it model.parameters(), a "
                f"generator, before anything else uses it up"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    # -- what a subclass defines -------------------------------------------------------

    def initial_value(self, name: str) -> float:
        """What a state array or a counter is filled with at first."""
        return 0.0

    def advance(self, group: Mapping[str, Any], counters: dict[str, Array]) -> None:
        """Move the counters of some parameters on, in place, before their update."""
        counters["step"] += 1

    def update(
        self,
        group: Mapping[str, Any],
        array: Array,
        grad: Array,
        state: Mapping[str, Any],
        scratch: Array,
    ) -> None:
        """One step for a stretch of parameters: change `array` and `state` in place.

        Args:
            group: the options.
            array: values, flat.
            grad: their gradients, of that shape; a copy that may be written to, unless
                `leaves_gradient` promises not to.
            state: the state arrays, of that shape; the counters, as numbers; and
                "is_first", whether these parameters have not been updated before.
            scratch: of that shape, for what the rule computes on the way.
        """
        rule = self.rule(group, state)
        rule.apply(namespace(array), array, grad, state, scratch)

    def rule(self, group: Mapping[str, Any], state: Mapping[str, Any]) -> Rule:
        """The next step as a rule that backends have kernels for.

        An optimizer defines either this or `update`. Of `state` it is given the
        counters and "is_first".
        """
        raise NotImplementedError(
            f"{type(self).__name__} defines no update and no step"
        )

    def leaves_gradient(self, group: Mapping[str, Any]) -> bool:
        """Whether `update` only reads `grad`, so that it need not be a copy."""
        return False

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError or TypeError for options that can't be."""

    # -- parameter groups --------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: a dict with "params" and the options that are its own.

        Raises what the constructor raises.
        """
        if not isinstance(param_group, dict):
            raise TypeError(
                f"add_param_group got a {type(param_group).__name__}; expected a dict "
                'with "params" and options'
            )
        if "params" not in param_group:
            raise KeyError(
                f"a parameter group has no 'params', only {', '.join(param_group)}"
            )
        parameters, names = _with_names(param_group["params"], type(self).__name__)
        group = {**self.defaults, **param_group, "params": parameters}
        if names is not None:
            group["param_names"] = names
        self._check_group(group)
        self.check_options(group)
        self.param_groups.append(group)
        if self.has_rule:
            self._flat_groups.append(FlatGroup(self, group))

    def _check_group(self, group: dict[str, Any]) -> None:
        name = type(self).__name__
        known = {id(each) for other in self.param_groups for each in other["params"]}
        for position, parameter in enumerate(group["params"]):
            if not isinstance(parameter, Tensor):
                raise TypeError(
                    f"{name}: parameter {position} is a {type(parameter).__name__}; "
                    f"expected a Tensor"
                )
            if not parameter.is_leaf:
                raise ValueError(
                    f"{name}: parameter {position} was computed, so it is no leaf and "
                    f"can't be optimized; mend: optimize what it was computed from, or "
                    f"x.detach().requires_grad_()"
                )
            if id(parameter) in known:
                raise ValueError(
                    f"{name}: parameter {position} was given before; mend: give each "
                    f"parameter once, in one group"
                )
            known.add(id(parameter))
        for other in self.param_groups:
            if ("param_names" in other) != ("param_names" in group):
                raise ValueError(
                    f"{name}: some groups have names for their parameters and some "
                    f"have none; mend: (name, parameter) pairs in all of them or none"
                )

    # -- a step ------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget every gradient (`backward` adds to what is there), or fill with 0.

        A parameter whose gradient is None is left alone by `step`; one whose gradient
        is 0 still gets weight decay and momentum.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad = parameter.grad.detach()
                    parameter.grad.array[...] = 0

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, in place.

        closure: computes the loss anew, with its gradients, before the update.

        Returns what the closure returns, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self.step_was_called = True
        updates = []  # all gradients are checked before anything is changed
        for group, flat_group in zip(self.param_groups, self._laid_out()):
            for flat in flat_group.flats:
                grads = flat.gradients()
                updates.append((group, flat, grads))
        for group, flat, grads in updates:
            flat.step(self, group, grads)
        return loss

    @property
    def has_rule(self) -> bool:
        """Whether it is `update` that defines it, rather than a `step` of its own."""
        return self.follows_rule or type(self).update is not Optimizer.update

    @property
    def follows_rule(self) -> bool:
        """Whether it is `rule` that says what `update` does."""
        kind = type(self)
        return kind.update is Optimizer.update and kind.rule is not Optimizer.rule

    def arrays_of(self, group: Mapping[str, Any]) -> list[str]:
        """The names of the arrays that are kept for each parameter of a group."""
        return [
            name
            for name, option in self.state_arrays.items()
            if option is None or group[option]
        ]

    def _laid_out(self) -> list[FlatGroup]:
        """The flat arrays, made anew where parameters or state are no longer theirs."""
        groups, flat_groups = self.param_groups, self._flat_groups
        if len(groups) != len(flat_groups):
            flat_groups[:] = [FlatGroup(self, group) for group in groups]
        for i, group in enumerate(groups):
            if not flat_groups[i].fits(self, group):
                flat_groups[i] = FlatGroup(self, group)
        return flat_groups

    # -- saving and copying ------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State and options in PyTorch's layout.

        {"state": {0: {"step": ..., ...}, ...}, "param_groups": [{"lr": ..., "params":
        [0, ...]}, ...]}: parameters are numbered through all groups. The tensors share
        memory with the optimizer.
        """
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            packed = {key: value for key, value in group.items() if key != "params"}
            for parameter in group["params"]:
                numbers[id(parameter)] = len(numbers)
            packed["params"] = [numbers[id(each)] for each in group["params"]]
            groups.append(packed)
        state = {
            numbers[id(parameter)]: dict(entry)
            for parameter, entry in self.state.items()
            if id(parameter) in numbers
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take on a state that `state_dict` returned, here or in PyTorch.

        Values may be Tensors, arrays of any kind (PyTorch's CPU tensors too) or
        numbers. They are copied, to the dtype and device of their parameters; counters
        stay on the host. Groups take the loaded options. Nothing is changed unless all
        of it fits.

        Raises:
            KeyError: an option or a state array is missing, or a key is unexpected.
            ValueError: groups, numbers of parameters, or shapes differ.
        """
        groups = loaded_groups(self, state_dict)
        parameters = [each for group in self.param_groups for each in group["params"]]
        numbered = [n for group in state_dict["param_groups"] for n in group["params"]]
        by_number = dict(zip(numbered, parameters))
        state = check_state_dict(self, state_dict["state"], by_number, groups)
        self.param_groups[:] = groups
        self.state.clear()
        self.state.update(state)
        self._flat_groups.clear()
        if self.has_rule:
            self._laid_out()

    def start_state(self) -> None:
        """Give every parameter its state now, rather than at its first gradient."""
        for flat_group in self._laid_out():
            for flat in flat_group.flats:
                flat.start(self, range(len(flat.parameters)))

    def __getstate__(self) -> dict[str, Any]:
        return {key: each for key, each in vars(self).items() if key != "_flat_groups"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._flat_groups = []
        if self.has_rule:
            self._laid_out()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            options = sorted(key for key in group if key != "params")
            lines += [f"    {key}: {group[key]}" for key in options]
        return "\n".join([*lines, ")"])


def _with_names(params: Any, optimizer: str) -> tuple[list[Any], list[str] | None]:
    """The parameters of a group, and their names where they came in pairs."""
    if isinstance(params, (set, frozenset)):
        raise TypeError(
            f"{optimizer}: a group's parameters are a set, whose order changes from "
            f"run to run; mend: a list"
        )
    params = [params] if isinstance(params, Tensor) else list(params)
    named = [isinstance(each, tuple) for each in params]
    if any(named) and not all(named):
        raise ValueError(
            f"{optimizer}: parameter {named.index(False)} has no name, though others "
            f"have; mend: (name, parameter) pairs for all of them or none"
        )
    if not any(named):
        return params, None
    return [each for _, each in params], [name for name, _ in params]
