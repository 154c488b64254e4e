"""The decoder without taps: its own source with every tap, and all that hands taps on, taken out.

Made from the source at every import, so that it cannot drift from the model that is trained. What is left is the same arithmetic.
"""

import ast
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

TAPPED = ("mlp", "convolution", "softmax_attention", "linear_variants", "attention", "decoder")  # of picollm/nn, each importing only those before
NAMES = {"tap", "site"}


class _WithoutTaps(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        arguments = node.args
        if any(argument.arg == "tap" for argument in arguments.args):
            first = len(arguments.args) - len(arguments.defaults)
            arguments.defaults = [value for argument, value in zip(arguments.args[first:], arguments.defaults, strict=True) if argument.arg not in NAMES]
            arguments.args = [argument for argument in arguments.args if argument.arg not in NAMES]
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        is_tap = isinstance(node.targets[0], ast.Name) and node.targets[0].id == "tap"
        return None if is_tap else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "tap":  # tap(site, value) is the value
            return self.visit(node.args[1])
        handed = [isinstance(argument, ast.Name) and argument.id == "tap" for argument in node.args]
        if any(handed):  # on to a part of the model, and behind it where that is
            at = handed.index(True)
            del node.args[at : at + 2]
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        name = (node.module or "").removeprefix("picollm.nn.")
        if name in TAPPED:
            node.module = f"{__name__}.{name}"
        return node


def _built(name: str) -> ModuleType:
    spec = find_spec(f"picollm.nn.{name}")
    assert spec is not None
    assert spec.origin is not None
    tree = ast.fix_missing_locations(_WithoutTaps().visit(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))))
    left = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in ("tap", "untapped")]
    assert not left, f"picollm/nn/{name}.py:{left[0].lineno} uses a tap in a way that is not known here"
    module = ModuleType(f"{__name__}.{name}")
    sys.modules[module.__name__] = module
    exec(compile(tree, spec.origin, "exec"), module.__dict__)
    return module


for _name in TAPPED:
    _decoder = _built(_name)  # the last of them
Config, Model = _decoder.Config, _decoder.Model
