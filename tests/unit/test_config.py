"""Every option has one place; flags win over environment over file; all problems come at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csv2kafka.config import ConnectConfig, ReadConfig, RunConfig, load, options, unknown_variables
from csv2kafka.config.kinds import show_seconds, show_size
from csv2kafka.errors import ConfigError

TO_KAFKA = {"sources": ("a.csv",), "bootstrap_servers": "host:9092", "topic": "orders"}
TO_FILE = {"sources": ("a.csv",), "output": "a.jsonl"}


def problems(**flags: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(RunConfig, flags=TO_KAFKA | flags)
    return list(caught.value.problems)


def loaded(**flags: Any) -> RunConfig:
    return load(RunConfig, flags=TO_KAFKA | flags)


def toml(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_those_of_the_design() -> None:
    config = loaded()
    assert config.partition == 0
    assert config.delivery == "exactly-once"
    assert config.format == "json"
    assert config.max_record == 16 << 20
    assert config.checkpoint_topic == "csv2kafka-checkpoints"
    assert (config.connect_timeout, config.give_up_after) == (60.0, None)
    assert (config.checkpoint_interval, config.checkpoint_rows) == (1.0, None)
    assert (config.on_bad_row, config.on_foreign) == ("fail", "stop")
    assert config.compression == "zstd"
    assert config.progress == "auto"
    assert config.header


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = toml(tmp_path / "c.toml", 'partition = 1\ncompression = "lz4"\non-bad-row = "skip"\nmax-record = "1MiB"')
    environ = {"CSV2KAFKA_PARTITION": "2", "CSV2KAFKA_COMPRESSION": "gzip"}
    config = load(RunConfig, flags=TO_KAFKA | {"partition": "3"}, environ=environ, file=file)
    assert (config.partition, config.compression, config.on_bad_row, config.max_record) == (3, "gzip", "skip", 1 << 20)
    assert config.format == "json"


def test_a_flag_switches_off_what_the_environment_switched_on() -> None:
    environ = {"CSV2KAFKA_CREATE_TOPIC": "yes"}
    assert load(RunConfig, flags=TO_KAFKA, environ=environ).create_topic
    assert not load(RunConfig, flags=TO_KAFKA | {"create_topic": False}, environ=environ).create_topic


def test_an_empty_variable_is_not_set() -> None:
    assert load(RunConfig, flags=TO_KAFKA, environ={"CSV2KAFKA_PARTITION": ""}).partition == 0


def test_client_options_are_merged_key_by_key(tmp_path: Path) -> None:
    file = toml(
        tmp_path / "c.toml", '[kafka]\nclient_id = "file"\nssl_check_hostname = false\nsasl_mechanism = "PLAIN"'
    )
    environ = {"CSV2KAFKA_KAFKA_CLIENT_ID": "environment", "CSV2KAFKA_KAFKA": "request_timeout_ms=9000 'a=b c'"}
    config = load(RunConfig, flags=TO_KAFKA | {"kafka": ("request_timeout_ms=5000",)}, environ=environ, file=file)
    assert config.kafka == {
        "client_id": "environment",
        "ssl_check_hostname": False,
        "sasl_mechanism": "PLAIN",
        "request_timeout_ms": "5000",
        "a": "b c",
    }


def test_client_options_are_not_shown() -> None:
    assert "hunter2" not in repr(loaded(kafka=("sasl_plain_password=hunter2",)))


def test_sources_of_the_environment_are_split_as_a_shell_does() -> None:
    config = load(RunConfig, flags=TO_KAFKA | {"sources": None}, environ={"CSV2KAFKA_SOURCES": "'my file.csv' b.csv"})
    assert config.sources == ("my file.csv", "b.csv")


def test_the_strongest_layer_decides_between_topic_and_file(tmp_path: Path) -> None:
    file = toml(tmp_path / "c.toml", 'sources = ["a.csv"]\nbootstrap-servers = "host:9092"\ntopic = "orders"')
    config = load(RunConfig, flags={"output": "a.jsonl"}, file=file)
    assert (config.output, config.topic, config.bootstrap_servers) == ("a.jsonl", None, None)
    environ = {"CSV2KAFKA_OUTPUT": "a.jsonl"}
    assert load(RunConfig, flags={"topic": "t", "bootstrap_servers": "h:1"}, environ=environ, file=file).output is None


def test_all_problems_at_once_each_with_flag_variable_and_key(tmp_path: Path) -> None:
    file = toml(tmp_path / "c.toml", 'delimeter = ";"\nmax-record = "7 elephants"')
    with pytest.raises(ConfigError) as caught:
        load(
            RunConfig,
            flags={"sources": ("a.csv",), "topic": "a/b", "quote": ","},
            environ={"CSV2KAFKA_CONNECT_TIMEOUT": "soon"},
            file=file,
        )
    told = str(caught.value)
    assert len(caught.value.problems) == 6
    assert "'delimeter' is not an option; did you mean delimiter?" in told
    for name in ("max-record", "connect-timeout", "topic", "bootstrap-servers", "quote"):
        variable = "CSV2KAFKA_" + name.upper().replace("-", "_")
        assert f"--{name} (environment {variable}, file key {name})" in told
    assert "'7 elephants' in " + str(file) in told
    assert "'soon' in the environment" in told


def test_a_problem_of_one_option_makes_no_second_one_of_another() -> None:
    assert len(problems(topic="a/b", dead_letter_topic="c/d", on_bad_row="dead-letter")) == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"topic": None}, "--topic"),
        ({"bootstrap_servers": None}, "--bootstrap-servers"),
        ({"sources": None}, "SOURCE... (environment CSV2KAFKA_SOURCES, file key sources): is needed"),
        ({"output": "f"}, "found both"),
        ({"on_bad_row": "dead-letter"}, "--dead-letter-topic"),
        ({"dead_letter_topic": "orders"}, "expected another topic than --topic's"),
        ({"checkpoint_topic": "orders"}, "expected another topic than --topic's"),
        ({"completion_topic": "orders"}, "expected another topic than --topic's"),
        ({"checkpoints": "kafka://", "delivery": "at-least-once"}, "kafka:// is for exactly-once into Kafka only"),
        ({"checkpoints": "jobs.db"}, "a URL such as"),
        ({"key": "id,nmae", "columns": "id,name"}, "'nmae' is not one of --columns"),
        ({"delimiter": ";", "escape": ";"}, "expected another character than --delimiter's"),
        ({"delimiter": "ab"}, "one ASCII character"),
        ({"delimiter": "é"}, "one ASCII character"),
        ({"delimiter": "\n"}, "one ASCII character"),
        ({"partition": "-1"}, "a whole number"),
        ({"partition": "1.5"}, "a whole number"),
        ({"checkpoint_interval": "2m"}, "from 10ms to 30s"),
        ({"checkpoint_rows": "0"}, "a whole number"),
        ({"max_record": "1GiB"}, "to 512MiB"),
        ({"job": "a/b"}, "letters, digits"),
        ({"job": "x" * 201}, "at most 200"),
        ({"topic": "."}, "a topic name"),
        ({"topic": "x" * 250}, "a topic name"),
        ({"delivery": "at-most-once"}, "one of exactly-once, at-least-once"),
        ({"kafka": ("acks",)}, "expected KEY=VALUE"),
        ({"kafka": ("bootstrap_servers=a:1",)}, "bootstrap_servers is --bootstrap-servers"),
        ({"columns": 'a,"b'}, "column names"),
        ({"key": "a,,b"}, "column names"),
        ({"create_topic": "perhaps"}, "true or false"),
        ({"topic": None, "bootstrap_servers": None, "output": "-"}, "standard output cannot be gone on with after a"),
        ({"topic": None, "bootstrap_servers": None, "output": "--topic"}, "give a file"),
    ],
)
def test_refused(flags: dict[str, Any], said: str) -> None:
    (problem,) = problems(**flags)
    assert said in problem


@pytest.mark.parametrize("text", ['"yes"', '"on"', '"1"', "true"])
def test_a_switch_in_a_file_may_be_a_word(tmp_path: Path, text: str) -> None:
    assert load(RunConfig, flags=TO_KAFKA, file=toml(tmp_path / "c.toml", f"create-topic = {text}")).create_topic


def test_neither_topic_nor_file_names_both_ways() -> None:
    told = "\n".join(problems(topic=None, bootstrap_servers=None))
    assert "--topic" in told
    assert "or --output" in told


@pytest.mark.parametrize("name", ["dead_letter_topic", "completion_topic", "create_topic"])
def test_options_for_kafka_are_refused_for_a_file(name: str) -> None:
    with pytest.raises(ConfigError, match="is for Kafka"):
        load(RunConfig, flags=TO_FILE | {name: True if name == "create_topic" else "t"})


def test_dead_letters_of_a_file_need_no_topic() -> None:
    assert load(RunConfig, flags=TO_FILE | {"on_bad_row": "dead-letter"}).on_bad_row == "dead-letter"


@pytest.mark.parametrize("text", ["tab", "\\t", "\t"])
def test_a_tab_can_be_written_in_three_ways(text: str) -> None:
    assert loaded(delimiter=text).delimiter == "\t"


@pytest.mark.parametrize("text", ["", "none"])
def test_quoting_can_be_switched_off(text: str) -> None:
    assert loaded(quote=text).quote is None


def test_names_with_commas_are_quoted_as_in_a_csv() -> None:
    assert loaded(columns='id,"last, first"').columns == ("id", "last, first")


@pytest.mark.parametrize(
    ("text", "count"),
    [("500k", 500_000), ("16MiB", 16 << 20), ("1 KiB", 1024), ("2M", 2_000_000), ("77", 77), (77, 77)],
)
def test_sizes(text: str | int, count: int) -> None:
    assert loaded(max_record=text).max_record == count


@pytest.mark.parametrize(
    ("text", "seconds"), [("0.2", 0.2), ("500ms", 0.5), ("2m", 120), ("1h", 3600), (3, 3), (0.5, 0.5)]
)
def test_durations(text: str | float, seconds: float) -> None:
    assert loaded(connect_timeout=text).connect_timeout == pytest.approx(seconds)


@given(st.integers(1, 512 << 20))
def test_a_size_as_it_is_shown_is_that_size(count: int) -> None:
    assert loaded(max_record=show_size(count)).max_record == count


@given(st.one_of(st.integers(1, 86400), st.integers(1, 9).map(lambda tenth: tenth / 10)))
def test_a_duration_as_it_is_shown_is_that_duration(seconds: float) -> None:
    assert loaded(give_up_after=show_seconds(seconds)).give_up_after == pytest.approx(seconds)


@given(
    st.sampled_from(sorted(options(RunConfig))),
    st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text()), st.binary()),
)
def test_whatever_is_given_is_taken_or_refused_with_a_sentence(name: str, raw: Any) -> None:
    with suppress(ConfigError):
        load(RunConfig, flags=TO_KAFKA | {name: raw})


def test_built_directly_it_is_checked_the_same() -> None:
    with pytest.raises(ConfigError, match="--partition"):
        RunConfig(sources=("a.csv",), bootstrap_servers="h:1", topic="t", partition=-1)
    assert RunConfig(sources=("a.csv",), output="f").checkpoints == "memory://"


def test_what_was_loaded_can_be_built_again() -> None:
    config = loaded(quote="none", columns="a,b", give_up_after="2m", max_record="500k")
    assert RunConfig(**{name: getattr(config, name) for name in options(RunConfig)}) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_record = 5", "did you mean max-record?"),
        ("a = [", "not TOML"),
        ("[kafak]\nx = 1", "did you mean kafka?"),
        ("topic = 7", "a topic name"),
        ("partition = true", "a whole number"),
        ("kafka = 3", "expected KEY=VALUE"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(RunConfig, flags=TO_KAFKA | {"topic": None} | {}, file=toml(tmp_path / "c.toml", text))
    assert said in str(caught.value)


@pytest.mark.parametrize("text", [None, "a = ["], ids=["not there", "not TOML"])
def test_of_a_file_that_cannot_be_read_nothing_else_is_told(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "c.toml" if text is None else toml(tmp_path / "c.toml", text)
    with pytest.raises(ConfigError) as caught:
        load(RunConfig, flags={"partition": "x"}, file=file)
    (problem,) = caught.value.problems
    assert problem.startswith(f"--config (environment CSV2KAFKA_CONFIG): {file}: ")
    assert ("not TOML" if text else "No such file") in problem


def test_a_file_may_hold_what_another_command_needs(tmp_path: Path) -> None:
    file = toml(tmp_path / "c.toml", 'sources = ["a.csv"]\ntopic = "orders"\nbootstrap-servers = "h:1"')
    assert load(ReadConfig, file=file).sources == ("a.csv",)
    assert load(ConnectConfig, file=file).bootstrap_servers == "h:1"


def test_unknown_variables_are_told() -> None:
    known = ("CSV2KAFKA_TOPIC", "CSV2KAFKA_KAFKA_X", "CSV2KAFKA_KERNEL", "CSV2KAFKA_REQUIRE_NATIVE")
    environ = {"CSV2KAFKA_TOPIK": "x"} | dict.fromkeys(known, "1")
    assert unknown_variables(environ) == [
        "CSV2KAFKA_TOPIK is not a variable of csv2kafka; did you mean CSV2KAFKA_TOPIC?"
    ]


def test_every_option_says_what_it_is() -> None:
    for said in options(RunConfig).values():
        assert said.help.endswith("."), said.name
        assert said.group
        if not said.required:
            assert said.kind.parse(said.default) == said.default, f"{said.name}: its default is not one of its values"


@pytest.mark.parametrize(
    "text",
    ["partition = " + "9" * 5000, "x = " + "[" * 50_000, "x = " + "{a=" * 50_000, "\0"],
)
def test_toml_that_readers_stumble_over_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        load(RunConfig, flags={"sources": ("a.csv",), "output": "b"}, file=file)


def test_a_zero_byte_is_in_no_path() -> None:
    """A file can have one, where a command line cannot."""
    with pytest.raises(ConfigError, match="checkpoints"):
        load(RunConfig, flags={"sources": ("a.csv",), "output": "b", "checkpoints": "sqlite:///a\0b"})
