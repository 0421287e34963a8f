# SPDX-License-Identifier: GPL-2.0-or-later
"""Small wrongs that can be done to a module: one row an operator, found in and applied to Python's own syntax tree."""

import ast
from dataclasses import dataclass
from typing import Any

_SWAPPED: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.Mod: ast.Add,
}
# What only speaks to people, or to the type checker.
_WORDS = ("notes", "ModelError", "Unsupported")


@dataclass(frozen=True)
class Mutation:
    """Operator ``what`` at the node that is number ``node`` of ast.walk(); ``detail`` is which of several.

    ``first`` to ``last`` are the lines of its statement (of a compound one: the head), 0 outside functions.
    """

    file: str
    line: int
    what: str
    node: int
    detail: int = 0
    text: str = ""
    first: int = 0
    last: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}: {self.text}"


def find(file: str, source: str) -> list[Mutation]:
    """Every mutation of a module."""
    tree = ast.parse(source)
    lines = source.splitlines()
    dull = _dull(tree)
    spans = _spans(tree)
    found = []
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in dull or not hasattr(node, "lineno"):
            continue
        for what, detail in _of(node):
            text = lines[node.lineno - 1].strip()
            found.append(Mutation(file, node.lineno, what, number, detail, text, *spans.get(id(node), (0, 0))))
    return found


def apply(source: str, mutation: Mutation) -> ast.Module:
    """The module's tree with the mutation in it."""
    tree = ast.parse(source)
    node: Any = next(node for number, node in enumerate(ast.walk(tree)) if number == mutation.node)
    what, detail = mutation.what, mutation.detail
    if what == "operator of comparison":
        node.ops[detail] = _SWAPPED[type(node.ops[detail])]()
    elif what == "operator":
        node.op = _SWAPPED[type(node.op)]()
    elif what == "operand left out":
        del node.values[detail]
    elif what == "condition negated":
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif what == "not left out":
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else node.op
        if isinstance(node.op, ast.Not):
            _replace(tree, node, node.operand)
    elif what == "sign":
        node.op = ast.UAdd()
    elif what == "constant":
        node.value = (not node.value) if isinstance(node.value, bool) else node.value + 1
    elif what == "return value":
        node.value = ast.Constant(None)
    elif what == "statement left out":
        _replace(tree, node, ast.Pass())
    return ast.fix_missing_locations(tree)


def _of(node: ast.AST) -> list[tuple[str, int]]:
    match node:
        case ast.Compare():
            return [("operator of comparison", n) for n, op in enumerate(node.ops) if type(op) in _SWAPPED]
        case ast.BoolOp():
            return [("operator", 0), *(("operand left out", n) for n in range(len(node.values)))]
        case ast.BinOp() | ast.AugAssign():
            swaps = [("operator", 0)] if type(node.op) in _SWAPPED and not _is_text(node) else []
            return [*swaps, ("statement left out", 0)] if isinstance(node, ast.AugAssign) else swaps
        case ast.UnaryOp(op=ast.Not()):
            return [("not left out", 0)]
        case ast.UnaryOp(op=ast.USub()):
            return [("sign", 0)]
        case ast.If() | ast.IfExp() | ast.While():
            return [("condition negated", 0)]
        case ast.Constant(value=int()):
            return [("constant", 0)]
        case ast.Return(value=ast.expr()):
            return [] if isinstance(node.value, ast.Constant) and node.value.value is None else [("return value", 0)]
        case ast.Expr(value=ast.Call()) if not any(word in ast.unparse(node) for word in _WORDS):
            return [("statement left out", 0)]
        case ast.Assign(targets=[ast.Attribute()]):
            return [("statement left out", 0)]
    return []


def _spans(tree: ast.Module) -> dict[int, tuple[int, int]]:
    """Of every node in a function's body: the lines of the innermost statement around it."""
    spans: dict[int, tuple[int, int]] = {}

    def visit(node: ast.AST, span: tuple[int, int] | None, inside: bool) -> None:
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None) or getattr(node, "cases", None)
            last = body[0].lineno - 1 if body and hasattr(body[0], "lineno") else node.end_lineno or node.lineno
            span = (node.lineno, max(node.lineno, last)) if inside else None
        if span is not None:
            spans[id(node)] = span
        inside = inside or isinstance(node, ast.FunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, span, inside)

    visit(tree, None, False)
    return spans


def _is_text(node: ast.BinOp | ast.AugAssign) -> bool:
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
    return any(isinstance(side, ast.JoinedStr | ast.Constant) and not _number(side) for side in sides)


def _number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def _dull(tree: ast.Module) -> set[int]:
    """Nodes that are no rule: annotations, what only a type checker reads, texts, places, reasons given for errors."""
    dull: set[int] = set()

    def skip(node: ast.AST | None) -> None:
        if node is not None:
            dull.update(id(inner) for inner in ast.walk(node))

    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef():
                skip(node.returns)
                for one in node.decorator_list:
                    skip(one)
            case ast.arg() | ast.AnnAssign():
                skip(node.annotation)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Raise() | ast.Assert() | ast.JoinedStr():
                skip(node)
            case ast.Assign(targets=[ast.Name(id="__slots__" | "__all__")]):
                skip(node)
            # Where a report stands in each version's source is told to people only, as its words are.
            case ast.Call(func=ast.Name(id="Message")):
                skip(node)
            case ast.Assign(targets=[ast.Name(id=name)]) if name.endswith("_LINES"):
                skip(node)
            case ast.Expr(value=ast.Constant()):
                skip(node)
            case ast.Expr(value=ast.Call()) if any(word in ast.unparse(node) for word in _WORDS):
                skip(node)
            case ast.ClassDef(bases=[ast.Name(id="Protocol"), *_]):
                skip(node)
            case ast.ClassDef():
                for one in node.decorator_list:
                    skip(one)
    return dull


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list):
                for n, item in enumerate(value):
                    if item is old:
                        value[n] = new
                        return
