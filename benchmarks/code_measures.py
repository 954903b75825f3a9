"""Measure the code base: size, public names, private attributes of libraries, import cycles, start-up time.

Run it from the root of a checkout::

    python benchmarks/code_measures.py            # a Markdown table
    python benchmarks/code_measures.py --list     # and every use of a private attribute, every cycle
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "iter_lightning"
CORE = ("types.py", "errors.py", "io", "corpora", "features", "metrics", "model", "training", "extraction")
LIBRARIES = (
    "torch", "lightning", "transformers", "torchmetrics", "smac", "ConfigSpace", "wandb", "wandb_workspaces", "uvicorn",
    "fastapi", "starlette", "huggingface_hub", "jsonargparse", "omegaconf", "spacy", "onnxruntime", "onnx", "ray",
    "tokenizers", "safetensors", "numpy", "yaml", "logging", "sys", "os", "signal", "socket", "threading",
)  # fmt: skip
ALLOWED_PRIVATE = {"os._exit", "sys._getframe"}


def modules() -> dict[str, Path]:
    """Dotted name of each module of the package, and its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def lines(*paths: Path) -> int:
    """Lines of all Python files in or below the paths."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def module_level_names() -> int:
    """Names without a leading underscore that modules define at their top level."""
    total = 0
    for path in modules().values():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                total += not node.name.startswith("_")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                total += sum(isinstance(t, ast.Name) and not t.id.startswith("_") for t in targets)
    return total


def exported_names() -> set[str]:
    """`package.name` for each entry of a package's `__all__`, each object once under its shortest path."""
    found: dict[str, str] = {}
    for module, path in modules().items():
        if path.name != "__init__.py":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [t.id for t in node.targets if isinstance(t, ast.Name)] if isinstance(node, ast.Assign) else []
            if "__all__" in names:
                for name in ast.literal_eval(node.value):
                    found.setdefault(name, f"{module}.{name}")
    return set(found.values())


def private_uses() -> list[str]:
    """Attributes that begin with one underscore and are not the package's own, and private names imported."""
    own: set[str] = set()
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in modules().values()}
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
                own.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
    found = []
    for path, tree in trees.items():
        place = path.relative_to(ROOT)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _private(node.attr) and node.attr not in own:
                name = ast.unparse(node)
                if name not in ALLOWED_PRIVATE:
                    found.append(f"{place}:{node.lineno}: {name}")
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
                parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                found.extend(f"{place}:{node.lineno}: {node.module} {part}" for part in parts if _private(part))
    return found


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def import_graph() -> dict[str, set[str]]:
    """Modules each module imports, also inside functions and for type checking; packages' re-exports are followed."""
    known = modules()
    graph: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets: list[str] = []
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                targets = [
                    f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in known else node.module
                    for alias in node.names
                ]
            graph[name].update(target for target in targets if target in known and target != name)
    return graph


def cycles() -> list[list[str]]:
    """Groups of modules that import each other (strongly connected components of more than one module)."""
    graph, index, low = import_graph(), dict[str, int](), dict[str, int]()
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def start_up_seconds(arguments: list[str], repeats: int = 3) -> float:
    """Median wall time of a command of the package."""
    times = []
    for _ in range(repeats):
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "iter_lightning", *arguments], cwd=ROOT, capture_output=True, check=False)
        times.append(time.monotonic() - started)
    return sorted(times)[repeats // 2]


def rows(timed: bool) -> Iterator[tuple[str, str]]:
    """Name and value of each measure."""
    yield "Python in the package (lines)", f"{lines(PACKAGE):,}"
    yield "core: " + ", ".join(CORE), f"{lines(*(PACKAGE / name for name in CORE if (PACKAGE / name).exists())):,}"
    yield "tests (lines)", f"{lines(ROOT / 'tests'):,}"
    yield "benchmarks (lines)", f"{lines(ROOT / 'benchmarks'):,}"
    yield "public names (in a package's `__all__`)", f"{len(exported_names()):,}"
    yield "names at module level without underscore", f"{module_level_names():,}"
    yield "private attributes of libraries used", f"{len(private_uses()):,}"
    yield "import cycles", f"{len(cycles()):,}"
    if timed:
        for arguments in (["--help"], ["fit", "--help"], ["extract", "--help"]):
            yield f"`{' '.join(arguments)}` (s, median of 3)", f"{start_up_seconds(arguments):.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="list private attributes and cycles")
    parser.add_argument("--no-times", action="store_true", help="leave the start-up times out")
    options = parser.parse_args()
    print("| measure | value |\n| --- | --- |")
    for name, value in rows(not options.no_times):
        print(f"| {name} | {value} |")
    if options.list:
        print("\n" + "\n".join(private_uses()))
        for group in cycles():
            print("cycle: " + ", ".join(group))


if __name__ == "__main__":
    main()
