"""Whether a chat template wants a message's content as one string or as a list of parts.

The same question that vLLM asks of a template's syntax tree ("string" or "openai"): does it loop
over the content of a message?  Both sides must answer alike to render alike.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

ContentFormat = Literal["string", "openai"]


class UnclearTemplate(ValueError):
    """A template that binds messages or their content in a way that cannot be followed."""


class Generation(Extension):
    """The ``{% generation %}`` block of transformers: only parsed here."""

    tags = {"generation"}  # noqa: RUF012  (declared so by jinja2)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The block's own statements."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=32)
def parsed(template: str) -> nodes.Template:
    """The template's syntax tree.  Raises jinja2.TemplateError where it is not one."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    return environment.parse(template)


@lru_cache(maxsize=32)
def content_format(template: str) -> ContentFormat:
    """What the template wants; "string" where that cannot be told, as vLLM has it."""
    try:
        tree = parsed(template)
        return "openai" if _loops_over_content(tree) else "string"
    except (jinja2.TemplateError, UnclearTemplate):
        return "string"


def _loops_over_content(tree: nodes.Template) -> bool:
    messages = set(_message_names(tree))
    in_macros: dict[int, set[str]] = {}
    for macro in tree.find_all(nodes.Macro):
        parameters = set(_content_parameters(tree, macro, messages))
        for loop in macro.find_all(nodes.For):
            in_macros.setdefault(id(loop), set()).update(parameters)
    for loop in tree.find_all(nodes.For):
        over = loop.iter
        plain = in_macros.get(id(loop), {"content"})
        if any(_reads(over, name, "content") for name in messages) or (
            isinstance(over, nodes.Name) and over.name in plain
        ):
            _name(loop.target)
            return True
    return False


def _message_names(tree: nodes.Template) -> list[str]:
    """The variables that hold one message in a loop over messages."""
    lists = _list_names(tree)
    return [
        _name(loop.target)
        for loop in tree.find_all(nodes.For)
        if any(_reads(loop.iter, name) for name in lists)
    ]


def _list_names(tree: nodes.Template) -> list[str]:
    """``messages``, and every variable that is assigned from it, at any remove."""
    names = ["messages"]
    for name in names:
        for assign in tree.find_all(nodes.Assign):
            if _reads(assign.node, name) and (target := _name(assign.target)) not in names:
                names.append(target)
    return names


def _content_parameters(
    tree: nodes.Template, macro: nodes.Macro, messages: set[str]
) -> Iterator[str]:
    """The macro's parameters that are somewhere called with the content of a message."""
    names = [argument.name for argument in macro.args]
    for call in tree.find_all(nodes.Call):
        if not (isinstance(call.node, nodes.Name) and call.node.name == macro.name):
            continue
        given = [*zip(names, call.args, strict=False), *((k.key, k.value) for k in call.kwargs)]
        for name, value in given:
            if name in names and any(_reads(value, each, "content") for each in messages):
                yield name


def _reads(node: nodes.Node | None, name: str, key: str | None = None) -> bool:
    """Whether an expression is that variable (or that key of it), through filters and slices."""
    if isinstance(node, nodes.Filter | nodes.Test):
        return _reads(node.node, name, key)
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        return _reads(node.node, name, key)
    if key is None:
        return isinstance(node, nodes.Name) and node.ctx == "load" and node.name == name
    if isinstance(node, nodes.Getitem):
        constant = isinstance(node.arg, nodes.Const) and node.arg.value == key
        return constant and _reads_plainly(node.node, name)
    return isinstance(node, nodes.Getattr) and node.attr == key and _reads_plainly(node.node, name)


def _reads_plainly(node: nodes.Node, name: str) -> bool:
    return isinstance(node, nodes.Name) and node.ctx == "load" and node.name == name


def _name(target: nodes.Node) -> str:
    if not isinstance(target, nodes.Name):
        raise UnclearTemplate
    return target.name
