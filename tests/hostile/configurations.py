"""Configuration that nobody would write: flags, variables and TOML of every type and size.

``load`` gives a configuration or a ConfigError; what is made of one is parts or a ConfigError. Nothing else.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from csv2kafka import registry
from csv2kafka.config import PREFIX, CommonConfig, ConnectConfig, ReadConfig, RunConfig, load, options
from csv2kafka.errors import ConfigError, Unreachable
from tests.hostile.laws import obeyed
from tests.hostile.spoil import spoiled

TEXTS = (
    *("", " ", "none", "\x1b[2J", "\u202e", "a\nb", "\r", "é", "漢字", "\x7f", "-", "--", "=", "a=b", "'", '"', "a b"),
    *("9" * 30, "9" * 5000, "-1", "0", "1e999", "nan", "inf", "0x10", "1_000", "٣", "true", "1s", "1h30m", "16MiB"),
    *("x" * 300, "x" * 70_000, "*", "[", "**/*", "/", "..", "a.csv", "s3://", "s3://b/k", "http://h/x", "ftp://h/x"),
    *("sqlite:///", "sqlite:///c.db", "memory://", "dynamodb://", "dynamodb://t?ttl=1", "kafka://", "x://y", "://"),
    *("host:9092", "host:99999", "[::1]:9092", "[", "a:b:c", "utf-16", "utf-8", "base64", "prometheus://:1", "emf"),
)
UNSTARTED = ("secretsmanager://a#b", "ssm:///a")
TOML = """sources = ["a.csv", 'b.csv']
topic = "orders"
bootstrap-servers = "host:9092"
max-record = "16MiB"
checkpoint-interval = 0.5
[kafka]
security_protocol = "SASL_SSL"
sasl_plain_password = "x"
[s3]
anonymous = true
[[array]]
topic = "a"
[[array]]
topic = "b"
"""


def value(draw: random.Random, depth: int = 0) -> Any:
    """Anything that TOML, or a program, may have in a value's place."""
    kind = draw.randrange(10 if depth < 3 else 7)
    if kind < 3:
        return draw.choice(TEXTS)
    if kind == 3:
        return draw.choice([0, 1, -1, 2**31, 2**63 - 1, 2**64, 10**400, True, False])
    if kind == 4:
        return draw.choice([0.0, 0.5, -1.5, float("inf"), float("nan"), 1e308])
    if kind == 5:
        return draw.choice([[], {}, ["a.csv"], [1, "a"], [[]], [None]])
    if kind == 6:
        return draw.choice(UNSTARTED)
    if kind == 7:
        return [value(draw, depth + 1) for _ in range(draw.randrange(4))]
    return {draw.choice(TEXTS)[:50]: value(draw, depth + 1) for _ in range(draw.randrange(4))}


def toml_text(draw: random.Random) -> bytes:
    """A file: of options and others, of a right file made wrong, or of what readers stumble over."""
    kind = draw.randrange(4)
    if kind == 0:
        return spoiled(draw, TOML.encode())
    if kind == 1:
        deep = draw.choice([50, 500, 5000, 50_000])
        nested = [b"a = " + b"[" * deep, b"a = " + b"{a=" * deep, b"[" + b"a." * (deep // 50) + b"a]\n"]
        return draw.choice([*nested, b"[[array]]\n" * 500])
    if kind == 2:
        numbers = [b"partition = " + b"9" * 5000, b"partition = 0x" + b"f" * 9999, b"topic = 1979-05-27T07:32:00Z"]
        return draw.choice([*numbers, b"\xff\xfe", b"\0"])
    lines = []
    for _ in range(draw.randint(1, 6)):
        known = [said.key for said in options(RunConfig).values()]
        key = draw.choice([*known, "array", "kafka", "nothing", "max_record"])
        lines.append(f"{key} = {_toml(value(draw))}")
    return "\n".join(dict.fromkeys(lines)).encode(errors="surrogatepass")


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else json.dumps(value, ensure_ascii=False)


def try_one(seed: int, base: Path) -> str:
    """Layers of all kinds into each kind of configuration."""
    draw = random.Random(seed)
    kind: type[CommonConfig] = draw.choice([RunConfig, RunConfig, ReadConfig, ConnectConfig])
    names = list(options(RunConfig))
    flags = {draw.choice(names): value(draw) for _ in range(draw.randrange(4))}
    if draw.random() < 0.5:
        flags |= {"sources": ("a.csv",), "output": "out"}
    environ = {draw.choice(_variables()): draw.choice(TEXTS) for _ in range(draw.randrange(4))}
    file = None
    if draw.random() < 0.6:
        file = base / f"config-{seed % 8}.toml"
        file.write_bytes(toml_text(draw))
    try:
        config = load(
            kind,
            flags=flags,
            environ=environ,
            file=draw.choice([file, file, file, base / ("x" * 300), base]) if file else None,
            resolve=lambda asked: dict.fromkeys(asked, ConfigError("there is none")),
        )
        repr(config)
        if isinstance(config, RunConfig):
            registry.build(config)
    except ConfigError as error:
        return "refused" if all(error.problems) and error.problems else f"without a word: {error!r}"
    except Unreachable:
        return "unreachable"
    return "taken"


def _variables() -> list[str]:
    found = [said.variable for said in options(RunConfig).values() if said.name != "debug"]
    keyed = [f"{PREFIX}KAFKA_", f"{PREFIX}KAFKA_SASL_PLAIN_PASSWORD", f"{PREFIX}S3_X", f"{PREFIX}KAFKA_\x1b"]
    return [*found, *keyed, "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE", f"{PREFIX}NOTHING"]


def try_flags(seed: int, command: Any, base: Path) -> str:
    """The same on a command line: what the command says is fit to be shown."""
    from tests.hostile.laws import hold

    draw = random.Random(seed)
    place = base / f"flags-{seed}"
    place.mkdir()
    command.directory = place
    (place / "a.csv").write_bytes(b"a,b\n1,2\n")
    (place / "c.toml").write_bytes(toml_text(draw))
    given = [text for text in (*TEXTS, "surrogate\udcff", "\x9b31m") if "\0" not in text]
    flags = [part for _ in range(draw.randrange(4)) for part in (draw.choice(_flags()), draw.choice(given))]
    commands = [["run", "-o", "out"], ["check", "-o", "out"], ["preview"], ["status"], ["verify", "-o", "out"]]
    first = draw.choice([*commands, ["\x1b[2J"], []])
    environ = {draw.choice(_variables()): draw.choice(given) for _ in range(draw.randrange(3))}
    environ = {name: text for name, text in environ.items() if "\x1b" not in name}
    if draw.random() < 0.3:
        flags += ["--config", draw.choice(["c.toml", "x" * 300, "nothing\x1b[2J", "."])]
    ended = command.run(*first, *flags, *draw.choice([[], ["a.csv"]]), environment=environ)
    hold(ended, shown=first != ["preview"])
    assert not obeyed(ended.text)
    return f"{ended.code}"


def _flags() -> list[str]:
    """Without those that ask machines, open ports or show tracebacks."""
    without = ("watch", "metrics", "debug")
    return [said.flag for said in options(RunConfig).values() if not said.positional and said.name not in without]
