"""Who may import whom, read from the source: nothing is run, so an import inside a function counts too."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEVELS = [  # a module imports its own level and those before, never one after
    {"core", "tracking", "forkserver"},
    {"tokenizers", "nn"},
    {"tasks", "models"},
    {"training"},
    {"blocks", "plans", "study"},
    {"generation", "exchange"},
    {"evaluation", "analysis", "report", "explorer", "hub"},
    {"comparing", "loaded", "timing"},
    {"serving"},
    {"commands"},
    {"cli", "__main__"},
    {"stages"},
]
WITHOUT_TORCH = [f"core.{name}" for name in ("config", "errors", "files", "registry", "tokens", "statistics", "startup")]


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for folder in ("picollm", "stages") for path in sorted((ROOT / folder).rglob("*.py"))}


def imported(statement, module, package):
    """The modules that an import statement names; of `from a import b` both a and a.b, one of which may be no module."""
    if isinstance(statement, ast.Import):
        return {alias.name for alias in statement.names}
    base = statement.module or ""
    if statement.level:
        above = module.split(".")[: len(module.split(".")) - statement.level + package]
        base = ".".join([*above, base] if base else above)
    return {base} | {f"{base}.{alias.name}" for alias in statement.names}


def for_types_only(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def walk(node, into_functions):
    for child in ast.iter_child_nodes(node):
        if for_types_only(child) or (not into_functions and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            continue
        yield child
        yield from walk(child, into_functions)


@cache
def imports(module, into_functions=True):
    """All that a module of the project imports; without `into_functions` only what its own import imports."""
    path = FILES[module]
    statements = [node for node in walk(ast.parse(path.read_text(encoding="utf-8")), into_functions) if isinstance(node, ast.Import | ast.ImportFrom)]
    return frozenset().union(*(imported(statement, module, path.name == "__init__.py") for statement in statements))


def imported_by(modules):
    """Everything that is imported when `modules` are, packages above a module included."""
    found, waiting = set(), list(modules)
    while waiting:
        parts = waiting.pop().split(".")
        for name in (".".join(parts[:end]) for end in range(1, len(parts) + 1)):
            if name not in found:
                found.add(name)
                waiting += imports(name, into_functions=False) if name in FILES else []
    return found


def within(*packages):
    return [module for module in FILES if module.startswith(packages)]


def level(module):
    part = module.removeprefix("picollm.").split(".")[0]
    return next((index for index, names in enumerate(LEVELS) if part in names), None)


def test_the_reader_of_imports_sees_them(tmp_path, monkeypatch):
    source = "import a.b\nfrom c import d\nfrom . import e\nfrom ..f import g\nif TYPE_CHECKING:\n    import h\ndef lazy():\n    import i\n"
    (tmp_path / "m.py").write_text(source)
    monkeypatch.setitem(FILES, "picollm.x.m", tmp_path / "m.py")
    assert imports("picollm.x.m") >= {"a.b", "c.d", "picollm.x.e", "picollm.f.g", "i"}
    assert not {"h", "i"} & imports("picollm.x.m", into_functions=False)
    assert {"torch", "numpy"} <= imported_by(["picollm.training.loop"])
    assert len(FILES) > 50


def test_only_tracking_and_what_mlflow_runs_itself_import_mlflow():
    found = {module for module in FILES if any(name.split(".")[0] == "mlflow" for name in imports(module))}
    assert {".".join(module.split(".")[:2]) for module in found - {"picollm.serving.champion"}} == {"picollm.tracking"}


def test_nothing_in_the_library_imports_dvc_or_a_stage():
    for module in within("picollm"):
        assert not {name.split(".")[0] for name in imports(module)} & {"dvc", "stages", "tests", "benchmarks"}, module


def test_nothing_is_unpickled():
    for module in FILES:
        assert not {name.split(".")[0] for name in imports(module)} & {"pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}, module
        for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) != "torch.load", module
                assert not [keyword for keyword in node.keywords if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"], module


@pytest.mark.parametrize("package", ["report", "tasks", "tokenizers"])
def test_a_package_without_torch_never_imports_it_not_even_by_way_of_another(package):
    modules = within(f"picollm.{package}")
    assert modules
    for module in modules:
        assert "torch" not in imported_by([module, *imports(module)]), module


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_the_lowest_modules_import_no_torch(module):
    assert "torch" not in imported_by([f"picollm.{module}", *imports(f"picollm.{module}")])


def test_every_module_has_a_level():
    for module in FILES:
        assert level(module) is not None or module == "picollm", f"{module} is in none of LEVELS"


def test_a_module_imports_no_level_above_its_own():
    for module in FILES:
        for name in imports(module):
            if module != "picollm" and name.split(".")[0] in ("picollm", "stages") and level(name) is not None:
                assert level(name) <= level(module), f"{module} imports {name}"
