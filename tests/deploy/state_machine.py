"""State machines in JSONata, run here state by state: what AWS Step Functions does with a definition.

    execution = Execution(definition, {"job": "orders"}, world)
    execution.until("Run")          # runs up to that state, which is next
    execution.end()                 # to its end
    execution.status, execution.output, execution.error

What tasks answer comes from ``world``; expressions are really evaluated. A definition that has what this does not know
is refused, so nothing in it goes unseen. Waiting takes no time: it is added up.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import jsonata
from attrs import define, field

STATES_MOST = 10_000  # then it runs in circles
HISTORY_MOST = 25_000  # events; Step Functions ends an execution that has more
FIELDS = {
    "Pass": {"Assign", "Output", "Next"},
    "Task": {"Resource", "Arguments", "Assign", "Output", "Retry", "Catch", "Next"},
    "Choice": {"Choices", "Default"},
    "Wait": {"Seconds", "Next"},
    "Succeed": {"Output"},
    "Fail": {"Error", "Cause"},
}
CHOICE = {"Comment", "Condition", "Assign", "Next"}
CATCH = {"ErrorEquals", "Assign", "Next"}
# Events in the history: entered and left, and of a task that it was scheduled, started, and how it ended; of one that
# is waited for also that it was submitted.
EVENTS = {"Pass": 2, "Choice": 2, "Wait": 2, "Task": 5, "Succeed": 2, "Fail": 1}
EVENTS_OF_A_RETRY = 3


class TaskError(Exception):
    """What a task answers instead of a result."""

    def __init__(self, error: str, cause: str | None = None) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause

    @property
    def output(self) -> dict[str, str]:
        return {"Error": self.error} | ({} if self.cause is None else {"Cause": self.cause})


class World(Protocol):
    """What is outside. ``register``: an execution has begun."""

    def register(self, execution: Execution) -> None: ...

    def call(self, resource: str, arguments: Any) -> Any:
        """A task's result, or TaskError."""
        ...


def evaluated(value: Any, variables: Mapping[str, Any]) -> Any:
    """With what its expressions, ``{% … %}``, give. TaskError where one fails or gives nothing."""
    if isinstance(value, Mapping):
        return {name: evaluated(each, variables) for name, each in value.items()}
    if isinstance(value, list):
        return [evaluated(each, variables) for each in value]
    if not (isinstance(value, str) and value.startswith("{%") and value.endswith("%}")):
        return value
    text = value[2:-2].strip()
    try:
        expression = jsonata.Jsonata(text)
        for name, function in FUNCTIONS.items():
            expression.register_lambda(name, function)
        found = expression.evaluate(None, dict(variables))
    except Exception as error:  # whatever the library raises, of several kinds
        raise TaskError("States.QueryEvaluationError", f"{text}: {error!r}") from error
    if found is None:
        raise TaskError("States.QueryEvaluationError", f"{text}: it gives nothing")
    return json.loads(json.dumps(found))


def _hash(content: str, algorithm: str) -> str:
    return hashlib.new(algorithm.replace("-", "").lower(), content.encode()).hexdigest()


# Those that Step Functions adds to JSONata.
FUNCTIONS = {"parse": json.loads, "hash": _hash, "uuid": lambda: str(uuid.uuid4())}


def check(definition: Mapping[str, Any]) -> None:
    """That all of it is known here, every state is reached from the start, and no name leads nowhere."""
    assert definition["QueryLanguage"] == "JSONata"
    states = definition["States"]
    for name, state in states.items():
        more = state.keys() - {"Type", "Comment"} - FIELDS[state["Type"]]
        assert not more, f"{name}: {more} is not known"
        for part, known in (("Choices", CHOICE), ("Catch", CATCH)):
            assert all(each.keys() <= known for each in state.get(part, ())), f"{name}: {part} has more than {known}"
    reached, look = set(), [definition["StartAt"]]
    while look:
        name = look.pop()
        assert name in states, f"{name!r} leads nowhere"
        if name not in reached:
            reached.add(name)
            look.extend(_next(states[name]))
    assert reached == set(states), f"never reached: {set(states) - reached}"


def _next(state: Mapping[str, Any]) -> Iterator[str]:
    yield from (state[name] for name in ("Next", "Default") if name in state)
    for part in ("Choices", "Catch"):
        yield from (each["Next"] for each in state.get(part, ()))


@define(eq=False)
class Execution:
    """``next``: the state that is to run. ``visited``: those that ran. ``waited``: seconds; ``events``: of its history,
    at least. ``status``: as DescribeExecution has it."""

    definition: Mapping[str, Any]
    input: Any
    world: World
    arn: str = field(factory=lambda: f"arn:aws:states:eu-west-1:123456789012:execution:test:{uuid.uuid4()}")
    status: str = "RUNNING"
    output: Any = None
    error: str = ""
    cause: str = ""
    next: str = field(init=False)
    variables: dict[str, Any] = field(factory=dict, init=False)
    visited: list[str] = field(factory=list, init=False)
    waits: list[float] = field(factory=list, init=False)
    events: int = field(default=2, init=False)
    _data: Any = field(init=False)  # the next state's input

    def __attrs_post_init__(self) -> None:
        check(self.definition)
        self.next = self.definition["StartAt"]
        self._data = self.input
        self.world.register(self)

    @property
    def waited(self) -> float:
        return sum(self.waits)

    def until(self, *names: str) -> Execution:
        """Runs until one of these states is next."""
        for _ in range(STATES_MOST):
            if self.status != "RUNNING" or self.next in names:
                break
            self.step()
        assert self.next in names, f"it ended with {self.status} {self.error} {self.cause} before {names}"
        return self

    def end(self) -> Execution:
        """Runs to the end."""
        for _ in range(STATES_MOST):
            if self.status != "RUNNING":
                return self
            self.step()
        raise AssertionError(f"it runs in circles: … {self.visited[-12:]}")

    def abort(self) -> None:
        """As StopExecution: nothing more is run, nothing is caught."""
        self.status = "ABORTED"

    def step(self) -> None:
        """Runs the next state."""
        name, state = self.next, self.definition["States"][self.next]
        self.visited.append(name)
        self.events += EVENTS[state["Type"]] + state.get("Resource", "").endswith(".sync")
        try:
            getattr(self, f"_{state['Type'].lower()}")(state)
        except TaskError as error:  # that no state has caught
            self.status, self.error, self.cause = "FAILED", error.error, error.cause or ""
        if self.waited > self.definition.get("TimeoutSeconds", float("inf")):
            self.status, self.error = "TIMED_OUT", "States.Timeout"

    # --- the states ---

    def _pass(self, state: Mapping[str, Any]) -> None:
        self._left(state, self._data, {})

    def _wait(self, state: Mapping[str, Any]) -> None:
        seconds = self._evaluated(state["Seconds"])
        assert seconds == int(seconds) >= 0, f"{self.next}: {seconds} s"
        self.waits.append(seconds)
        self._left(state, self._data, {})

    def _choice(self, state: Mapping[str, Any]) -> None:
        for choice in state["Choices"]:
            met = self._evaluated(choice["Condition"])
            assert isinstance(met, bool), f"{self.next}: {choice['Condition']} gives {met!r}"
            if met:
                return self._left(choice, self._data, {})
        return self._left({"Next": state["Default"]}, self._data, {})

    def _succeed(self, state: Mapping[str, Any]) -> None:
        self.output = self._evaluated(state.get("Output", "{% $states.input %}"))
        self.status = "SUCCEEDED"

    def _fail(self, state: Mapping[str, Any]) -> None:
        raise TaskError(self._evaluated(state["Error"]), self._evaluated(state["Cause"]))

    def _task(self, state: Mapping[str, Any]) -> None:
        retried = [0] * len(state.get("Retry", ()))
        while True:
            try:
                result = self.world.call(state["Resource"], self._evaluated(state.get("Arguments", {})))
                return self._left(state, result, {"result": result})
            except TaskError as error:
                if not self._retry(state, error, retried):
                    return self._catch(state, error)

    def _retry(self, state: Mapping[str, Any], error: TaskError, retried: list[int]) -> bool:
        for number, said in enumerate(state.get("Retry", ())):
            if _matches(said["ErrorEquals"], error):
                if retried[number] >= said.get("MaxAttempts", 3):
                    return False
                pause = said.get("IntervalSeconds", 1) * said.get("BackoffRate", 2) ** retried[number]
                self.waits.append(min(pause, said.get("MaxDelaySeconds", pause)))
                self.events += EVENTS_OF_A_RETRY
                retried[number] += 1
                return True
        return False

    def _catch(self, state: Mapping[str, Any], error: TaskError) -> None:
        for said in state.get("Catch", ()):
            if _matches(said["ErrorEquals"], error):
                return self._left(said, error.output, {"errorOutput": error.output})
        raise error

    # --- expressions ---

    def _left(self, said: Mapping[str, Any], output: Any, more: Mapping[str, Any]) -> None:
        """Assign sees the variables as they were before; the next state's input is Output, or what came out."""
        assigned = self._evaluated(said.get("Assign", {}), more)
        self._data = self._evaluated(said["Output"], more) if "Output" in said else output
        self.variables |= assigned
        self.next = said["Next"]

    def _evaluated(self, value: Any, more: Mapping[str, Any] = {}) -> Any:
        now = datetime(2026, 11, 30, tzinfo=UTC) + timedelta(seconds=self.waited)
        context = {
            "Execution": {"Id": self.arn, "Name": self.arn.rpartition(":")[2], "Input": self.input},
            "State": {"Name": self.next, "EnteredTime": now.isoformat(timespec="milliseconds")},
        }
        return evaluated(value, {**self.variables, "states": {"input": self._data, "context": context, **more}})


def _matches(names: list[str], error: TaskError) -> bool:
    if error.error in names:
        return True
    if error.error in {"States.Runtime", "States.DataLimitExceeded"}:
        return False
    return "States.ALL" in names or ("States.TaskFailed" in names and error.error != "States.Timeout")
