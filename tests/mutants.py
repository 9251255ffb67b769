"""Mutation testing: each of many small changes to the modules that the guarantee rests on has to fail a test.

    python -m tests.mutants                        # a sample of each module, by --seed
    python -m tests.mutants --each 1000            # all of them: hours
    python -m tests.mutants --only csv2kafka.kafka.writer --each 50
    python -m tests.mutants --mutant csv2kafka.kafka.writer:Writer.commit:3

A mutant is one change in one function: another comparison, ``and`` for ``or``, a number one larger, a statement left
out. It is planted in the tests' own process (``MUTANT`` in the environment; this module is pytest's plugin then), so
the files stay as they are. What logs, and what is only said in errors, is left alone.

Some changes make no difference, or one that nobody could see; survivors.toml names them, each with the reason.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import os
import random
import subprocess
import sys
import textwrap
import time
import tomllib
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from tests.simulation.planting import compiled, function_of, plain

CAMPAIGN = "tests/simulation/test_campaign.py"
SIMULATED = (
    *("tests/simulation/test_writing_traps.py", "tests/simulation/test_opening_traps.py"),
    *("tests/simulation/test_ownership_traps.py", "tests/simulation/test_restart_traps.py"),
    *("tests/simulation/test_reconcile_traps.py", "tests/simulation/test_sending_again_traps.py"),
    "tests/simulation/test_complete.py",
    *(f"{CAMPAIGN}::test_every_law_holds_in[0]", f"{CAMPAIGN}::test_every_law_holds_in[1]"),
    f"{CAMPAIGN}::test_a_process_dies_at_each_of_its_steps[False-exactly-once]",
    f"{CAMPAIGN}::test_a_process_dies_at_each_of_its_steps[False-at-least-once]",
)
KAFKA = (
    "tests/unit/kafka/test_checks.py",
    "tests/unit/kafka/test_writer.py",
    "tests/unit/kafka/test_ownership.py",
    "tests/unit/kafka/test_checkpoint_topic.py",
    "tests/unit/kafka/test_log.py",
    "tests/unit/kafka/test_session.py",
    *SIMULATED,
    "tests/properties/test_ownership.py",
)
WORK = (
    *("tests/unit/test_transfer.py", "tests/unit/test_bad_rows.py", "tests/unit/test_holding.py"),
    *("tests/unit/test_pipeline.py", *SIMULATED),
)
TESTS: dict[str, Sequence[str]] = {
    "csv2kafka.kafka.writer": KAFKA,
    "csv2kafka.kafka.ownership": KAFKA,
    "csv2kafka.kafka.exactly_once": KAFKA,
    "csv2kafka.kafka.at_least_once": KAFKA,
    "csv2kafka.kafka.checkpoint_topic": KAFKA,
    "csv2kafka.kafka.checks": KAFKA,
    "csv2kafka.kafka.reconcile": ("tests/unit/kafka/test_reconcile.py", "tests/properties/test_reconcile.py", *KAFKA),
    "csv2kafka.kafka.log": KAFKA,
    "csv2kafka.kafka.session": KAFKA,
    "csv2kafka.pipeline": (
        "tests/unit/test_pipeline.py",
        "tests/unit/test_patience.py",
        "tests/unit/test_after.py",
        *WORK,
    ),
    "csv2kafka.patience": ("tests/unit/test_patience.py", "tests/unit/test_pipeline.py", *SIMULATED),
    "csv2kafka.sinks.output": (
        "tests/unit/sinks/test_file.py",
        "tests/unit/test_preflight.py",
        "tests/unit/test_conformance.py",
        f"{CAMPAIGN}::TestFiles",
    ),
    "csv2kafka.transfer": WORK,
    "csv2kafka.holding": WORK,
    "csv2kafka.checkpoints.watch": (
        "tests/unit/checkpoints/test_watch.py",
        "tests/unit/test_conformance.py",
        f"{CAMPAIGN}::test_what_a_run_sent_before_it_died_is_no_sign_of_life",
    ),
    "csv2kafka.framing": ("tests/unit/test_framing.py", "tests/properties/test_csv.py"),
    "csv2kafka.kernel._python.boundary": (
        "tests/unit/kernel/test_boundary.py",
        "tests/unit/test_framing.py",
        "tests/properties/test_csv.py",
    ),
    "csv2kafka.checks": ("tests/unit/test_checks.py", "tests/unit/test_limits.py", "tests/unit/test_pipeline.py"),
}
SURVIVORS = Path(__file__).with_name("survivors.toml")
SECONDS = 900.0  # for all tests of a mutant; one that takes longer is found: it hangs
PAIRS: tuple[tuple[type[ast.AST], type[ast.AST]], ...] = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)),
    *((ast.And, ast.Or), (ast.Add, ast.Sub)),
)
OTHER: dict[type[ast.AST], type[ast.AST]] = {**dict(PAIRS), **{second: first for first, second in PAIRS}}


@frozen
class Mutant:
    """``number``: which of the function's changes."""

    module: str
    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.module}:{self.name}:{self.number}"


def functions(module: str) -> Iterator[str]:
    """Names of those that are written there; not what attrs makes."""
    found = importlib.import_module(module)
    for name, each in vars(found).items():
        if isinstance(each, type) and each.__module__ == module:
            for inner, method in vars(each).items():
                if _is_written(method, module, inner):
                    yield f"{name}.{inner}"
        elif _is_written(each, module, name):
            yield name


def _is_written(found: object, module: str, name: str) -> bool:
    try:
        function = plain(found)
    except AssertionError:
        return False
    own = function.__code__.co_filename == importlib.import_module(module).__file__
    return own and function.__module__ == module and function.__name__ == name != "<lambda>"


class _Changes(ast.NodeVisitor):
    """Every place of a function that can be changed, in order: how to change it, and back."""

    def __init__(self) -> None:
        self.found: list[tuple[ast.AST, str, object]] = []  # node, field, what it becomes

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Compare):
            self.found.append((node, "ops", [OTHER[type(node.ops[0])](), *node.ops[1:]]))
        elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in OTHER:
            self.found.append((node, "op", OTHER[type(node.op)]()))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.found.append((node, "operand", ast.UnaryOp(ast.Not(), node.operand)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            self.found.append((node, "value", not node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            self.found.append((node, "value", node.value + 1))
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                self.leave_out(node, name, block)
        for child in ast.iter_child_nodes(node):
            if not _only_says(child):
                self.visit(child)

    def leave_out(self, node: ast.AST, name: str, block: list[ast.stmt]) -> None:
        """Each statement of a block that only does something."""
        for at, each in enumerate(block):
            does = isinstance(each, ast.Expr) and isinstance(each.value, ast.Call | ast.Await)
            if (does or isinstance(each, ast.AugAssign | ast.Raise)) and not _only_says(each):
                self.found.append((node, name, [*block[:at], ast.Pass(), *block[at + 1 :]]))


def _only_says(node: ast.AST) -> bool:
    """What only logs or tells, and annotations."""
    if isinstance(node, ast.Expr):
        node = node.value
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("_log.", "self.emit")):
        return True
    return isinstance(node, ast.JoinedStr | ast.arg | ast.arguments)


def mutants(module: str) -> list[Mutant]:
    """All of a module's."""
    return [
        Mutant(module, name, number)
        for name in functions(module)
        for number in range(len(_changes(function_of(module, name))[1]))
    ]


def _changes(function: types.FunctionType) -> tuple[ast.Module, list[tuple[ast.AST, str, object]]]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    visitor = _Changes()
    made = tree.body[0]
    assert isinstance(made, ast.FunctionDef | ast.AsyncFunctionDef)
    visitor.leave_out(made, "body", made.body)
    for statement in made.body:
        visitor.visit(statement)
    return tree, visitor.found


def source_of(mutant: Mutant) -> tuple[str, str]:
    """The function as it is, and changed; both as Python writes them."""
    tree, changes = _changes(function_of(mutant.module, mutant.name))
    before = ast.unparse(tree)
    node, name, value = changes[mutant.number]
    setattr(node, name, value)
    return before, ast.unparse(ast.fix_missing_locations(tree))


def change(mutant: Mutant) -> tuple[str, str]:
    """The lines that differ, before and after."""
    before, after = (text.splitlines() for text in source_of(mutant))
    gone = " ".join(line.strip() for line in before if line not in after)
    come = " ".join(line.strip() for line in after if line not in before)
    return gone, come or "pass"


def shown(mutant: Mutant) -> str:
    """The change, in short."""
    gone, come = change(mutant)
    pairs = enumerate(zip(gone, come, strict=False))
    same = next((at for at, (old, new) in pairs if old != new), min(len(gone), len(come)))
    first = max(0, same - 60)
    return f"{gone[first : same + 60]}  ->  {come[first : same + 60]}"


@frozen
class Survivor:
    """A change that no test can see. ``function``: module:name. ``before``, ``after``: parts of the changed lines."""

    function: str
    before: str
    after: str
    reason: str

    def is_of(self, mutant: Mutant) -> bool:
        if self.function != f"{mutant.module}:{mutant.name}":
            return False
        before, after = change(mutant)
        return self.before in before and self.after in after


def survivors() -> list[Survivor]:
    """All that are explained."""
    return [Survivor(**each) for each in tomllib.loads(SURVIVORS.read_text())["survivor"]]


def plant(mutant: Mutant) -> None:
    """For good, in this process."""
    function = function_of(mutant.module, mutant.name)
    _, after = source_of(mutant)
    function.__code__ = compiled(after, function).__code__


def named(text: str) -> Mutant:
    """From what ``str`` gives."""
    module, name, number = text.split(":")
    return Mutant(module, name, int(number))


if os.environ.get("MUTANT") and __name__ != "__main__":
    plant(named(os.environ["MUTANT"]))


def is_found(module: str, mutant: Mutant | None) -> tuple[bool, float]:
    """Whether a test of the module's fails, and the seconds it took. None: nothing is changed."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "tests.mutants", "-p", "no:cacheprovider"]
    environment = {**os.environ, "MUTANT": str(mutant or ""), "PYTHONPATH": "."}
    try:
        done = subprocess.run(
            [*command, *TESTS[module]],
            cwd=Path(__file__).parent.parent,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True, time.monotonic() - began
    return done.returncode != 0, time.monotonic() - began


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit code 1 if any survives, or if tests fail without."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Does a test fail for each change?")
    parser.add_argument("--only", action="append", choices=list(TESTS), help="of this module")
    parser.add_argument("--each", type=int, default=10, help="how many of each module, drawn")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=60.0, help="no new one after that")
    parser.add_argument("--mutant", help="this one alone")
    given = parser.parse_args(arguments)
    if given.mutant:
        mutant = named(given.mutant)
        chosen = {mutant.module: [mutant]}
    else:
        draw = random.Random(given.seed)
        chosen = {}
        for module in given.only or TESTS:
            every = mutants(module)
            chosen[module] = draw.sample(every, min(given.each, len(every)))
    return _tried(chosen, time.monotonic() + 60 * given.minutes)


def _tried(chosen: dict[str, list[Mutant]], until: float) -> int:
    alive, explained = 0, survivors()
    for module, drawn in chosen.items():
        tried = found = known = 0
        if is_found(module, None)[0]:
            print(f"{module}: its tests fail as it is", flush=True)
            return 1
        for mutant in drawn:
            if time.monotonic() > until:
                break
            if any(each.is_of(mutant) for each in explained):
                known += 1
                continue
            killed, seconds = is_found(module, mutant)
            tried, found = tried + 1, found + killed
            if not killed:
                print(f"SURVIVES {mutant} ({seconds:.0f} s): {shown(mutant)}", flush=True)
        alive += tried - found
        print(f"{module}: {found} of {tried} found, {known} explained; {len(mutants(module))} there are", flush=True)
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
