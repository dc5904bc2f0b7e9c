"""Pickles read as data: a machine for pickle's opcodes that builds plain values and can call nothing.

A pickle is a program; Python's own reader imports and calls what it names. This one imports nothing. A name that a
pickle calls is looked up in a table of a few makers of plain values, everything that PyTorch needs to describe tensors;
names of network and trainer classes become `Record`s, which hold what they were given; any other name is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from . import shown

MOST_OPCODES = 100_000
MOST_COPIED = 10_000_000  # items and bytes that all calls together are given: a few opcodes can ask for a large copy
MOST_BITS = 1024  # of a whole number
INERT = ("torch.nn.", "torch.optim.", "pytorch_lightning.", "lightning.", "__main__.", "argparse.", "pathlib.")
MARK = object()


class PickleError(ValueError):
    """A pickle that is broken, or that wants something which no model needs."""


class Name(NamedTuple):
    """A class or function by its name, never the thing itself."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """What an object of some class was made of; the class itself is not there."""

    kind: str
    arguments: tuple = ()
    state: Any = None
    items: dict = field(default_factory=dict)


def ordered_dict(pairs=()):
    """`collections.OrderedDict` as a plain dict."""
    made = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise PickleError("a dictionary of what are no pairs")
        made[_key(pair[0])] = pair[1]
    return made


def _encoded(text, encoding="latin1"):
    if not isinstance(text, str) or encoding != "latin1":
        raise PickleError("bytes in an encoding other than latin1")
    return text.encode("latin1", "replace")


def _sequence(items=()):
    if not isinstance(items, list | tuple):
        raise PickleError("a sequence of something else")
    return items


PLAIN: dict[str, Callable] = {
    "collections.OrderedDict": ordered_dict,
    "collections.defaultdict": lambda *factory: {},
    "_codecs.encode": _encoded,
    **{f"{module}.{name}": _sequence for module in ("builtins", "__builtin__") for name in ("set", "list")},
    "torch.Size": _sequence,
    "torch.device": lambda *where: "cpu",
    "torch.serialization._get_layout": lambda *name: "strided",
}


def read(data: bytes, start: int, calls: dict[str, Callable], persistent: Callable) -> tuple[Any, int]:
    """The value of the pickle at `data[start:]`, and where it ends.

    calls       more names that may be called, each with a function that makes a plain value of the arguments
    persistent  makes a value of a persistent id

    Raises PickleError.
    """
    machine = _Machine({**PLAIN, **calls}, persistent)
    stream = _Stream(data, start)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
            if count > MOST_OPCODES:
                raise PickleError(f"more than {MOST_OPCODES} opcodes")
            if opcode.name == "STOP":
                return machine.pop(), stream.at
            machine.run(opcode.name, argument)
    except PickleError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, Warning) as error:
        raise PickleError(f"broken pickle ({error})") from error
    raise PickleError("broken pickle (it has no end)")


class _Stream:
    """A file over bytes, without copying them."""

    def __init__(self, data: bytes, at: int):
        self.data, self.at = data, at

    def read(self, size: int) -> bytes:
        found = self.data[self.at : self.at + max(size, 0)]
        self.at += len(found)
        return found

    def readline(self) -> bytes:
        end = self.data.find(b"\n", self.at, self.at + 1000)
        return self.read(end + 1 - self.at) if end >= 0 else b""

    def tell(self) -> int:
        return self.at


class _Machine:
    def __init__(self, calls: dict[str, Callable], persistent: Callable):
        self.calls, self.persistent = calls, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is MARK:
            raise PickleError("broken pickle (its stack is empty)")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is MARK:
            raise PickleError("broken pickle (its stack is empty)")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while at >= 0 and self.stack[at] is not MARK:
            at -= 1
        if at < 0:
            raise PickleError("broken pickle (a mark is missing)")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def run(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _VALUES:
            if isinstance(argument, int) and argument.bit_length() > MOST_BITS:
                raise PickleError("a whole number of more than 1024 bits")
            self.stack.append(argument)
        elif name in ("PROTO", "FRAME"):
            pass
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise PickleError("broken pickle (it refers to what is not there)")
            self.stack.append(self.memo[argument])
        elif name in _WORK:
            _WORK[name](self, argument)
        else:
            raise PickleError(f"pickle opcode {name}, which no model needs")

    def name(self, module: Any, name: Any) -> Name:
        """A name that may be used; the only place where one comes in."""
        made = Name(module, name)
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleError("broken pickle (a name that is no text)")
        good = str(made) in self.calls or str(made).startswith(INERT) or (module == "torch" and name in _TORCH)
        if not good:
            raise PickleError(
                f"it calls {shown(str(made))}, which no model needs; nothing was run, but do not trust it"
            )
        return made

    def call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise PickleError("broken pickle (a call of what cannot be called)")
        self.copied += sum(len(item) for item in arguments if isinstance(item, list | tuple | str | bytes))
        if self.copied > MOST_COPIED:
            raise PickleError("it copies more than a model is large")
        maker = self.calls.get(str(function))
        if maker:
            return maker(*arguments)
        if not str(function).startswith(INERT):
            raise PickleError(f"it calls {shown(str(function))}, which makes no tensor")
        return Record(str(function), arguments)


_TORCH = {
    *("FloatStorage", "DoubleStorage", "HalfStorage", "BFloat16Storage", "LongStorage", "IntStorage", "ShortStorage"),
    *("CharStorage", "ByteStorage", "BoolStorage"),
    *("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "strided"),
    "contiguous_format",
}  # fmt: skip
_CONSTANTS: dict[str, Callable] = {
    "MARK": lambda: MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_DICT": dict,
}
_VALUES = {
    *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}


def _key(value: Any) -> Any:
    """A dictionary's key; tuples are none here, as hashing deep ones would exhaust the stack."""
    if not isinstance(value, str | int | float | bytes | Record | None) and type(value) is not Name:
        raise PickleError(f"a dictionary with a key of type {type(value).__name__}")
    return value


def _put(holder: Any, pairs: list[Any]) -> None:
    if isinstance(holder, Record):
        holder = holder.items
    if not isinstance(holder, dict) or len(pairs) % 2:
        raise PickleError("broken pickle (items of what is no dictionary)")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        holder[_key(key)] = value


def _append(holder: Any, items: list[Any]) -> None:
    if isinstance(holder, list):
        holder.extend(items)
    elif not isinstance(holder, Record):
        raise PickleError("broken pickle (items of what is no list)")


def _build(machine: _Machine, _) -> None:
    state = machine.pop()
    if isinstance(machine.top(), Record):
        machine.top().state = state


def _global(machine: _Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.stack.append(machine.name(module, name))


def _stack_global(machine: _Machine, _) -> None:
    name, module = machine.pop(), machine.pop()
    machine.stack.append(machine.name(module, name))


def _reduce(machine: _Machine, _) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.stack.append(machine.call(function, arguments))


def _new(machine: _Machine, _) -> None:
    _reduce(machine, None)


def _new_keywords(machine: _Machine, _) -> None:
    machine.pop()
    _reduce(machine, None)


def _instance(machine: _Machine, argument: str) -> None:
    arguments = tuple(machine.since_mark())
    module, _, name = argument.partition(" ")
    machine.stack.append(machine.call(machine.name(module, name), arguments))


def _object(machine: _Machine, _) -> None:
    function, *arguments = machine.since_mark() or [None]
    machine.stack.append(machine.call(function, tuple(arguments)))


def _tuple(size: int) -> Callable:
    def work(machine: _Machine, _) -> None:
        items = [machine.pop() for _ in range(size)]
        machine.stack.append(tuple(reversed(items)))

    return work


def _collect(kind: Callable) -> Callable:
    return lambda machine, _: machine.stack.append(kind(machine.since_mark()))


def _dict(machine: _Machine, _) -> None:
    pairs, made = machine.since_mark(), {}
    _put(made, pairs)
    machine.stack.append(made)


def _set_item(machine: _Machine, _) -> None:
    value, key = machine.pop(), machine.pop()
    _put(machine.top(), [key, value])


def _set_items(machine: _Machine, _) -> None:
    pairs = machine.since_mark()
    _put(machine.top(), pairs)


def _append_one(machine: _Machine, _) -> None:
    item = machine.pop()
    _append(machine.top(), [item])


def _append_all(machine: _Machine, _) -> None:
    items = machine.since_mark()
    _append(machine.top(), items)


def _persistent(machine: _Machine, _) -> None:
    machine.stack.append(machine.persistent(machine.pop()))


_WORK: dict[str, Callable] = {
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _new,
    "NEWOBJ_EX": _new_keywords,
    "INST": _instance,
    "OBJ": _object,
    "BUILD": _build,
    "BINPERSID": _persistent,
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "DUP": lambda machine, _: machine.stack.append(machine.top()),
    "TUPLE": _collect(tuple),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "LIST": _collect(list),
    "DICT": _dict,
    "FROZENSET": _collect(list),
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "APPEND": _append_one,
    "APPENDS": _append_all,
    "ADDITEMS": _append_all,
}
