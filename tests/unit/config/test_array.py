"""Array jobs: each child gets its table over the file's; what would mix two children up is refused by all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from csv2kafka.config import ConnectConfig, ReadConfig, RunConfig, load
from csv2kafka.errors import ConfigError

INDEX, SIZE = "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"
SHARED = 'bootstrap-servers = "h:1"\ntopic = "orders"\n'
THREE = SHARED + "".join(
    f'[[array]]\nsources = ["s3://b/{name}.csv"]\npartition = {number}\n' for number, name in enumerate("abc")
)
AGAINST = "the environment says it for all children"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "c.toml"


def child(file: Path, text: str, index: str | None = "0", **environ: str) -> RunConfig:
    file.write_text(text, encoding="utf-8")
    return load(RunConfig, environ=environ if index is None else environ | {INDEX: index}, file=file)


def problems(file: Path, text: str, index: str | None = "0", **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        child(file, text, index, **environ)
    return list(caught.value.problems)


@pytest.mark.parametrize(("index", "source"), [("0", "a"), ("1", "b"), ("2", "c")])
def test_each_child_has_its_table_over_the_file(file: Path, index: str, source: str) -> None:
    config = child(file, THREE, index)
    assert config.sources == (f"s3://b/{source}.csv",)
    assert (config.topic, config.partition) == ("orders", int(index))


def test_flags_win_over_the_childs_table(file: Path) -> None:
    file.write_text(THREE)
    assert load(RunConfig, flags={"partition": "7"}, environ={INDEX: "1"}, file=file).partition == 7


def test_a_childs_client_options_are_merged_key_by_key(file: Path) -> None:
    text = (
        SHARED + '[kafka]\nclient_id = "all"\nacks = "all"\n[[array]]\nsources = ["a"]\n[array.kafka]\nclient_id = "a"'
    )
    assert child(file, text, CSV2KAFKA_KAFKA_LINGER_MS="5").kafka == {"client_id": "a", "acks": "all", "linger_ms": "5"}


def test_a_child_decides_between_topic_and_file(file: Path) -> None:
    config = child(file, SHARED + '[[array]]\nsources = ["a"]\noutput = "a.jsonl"')
    assert (config.topic, config.output) == (None, "a.jsonl")


def test_children_into_partitions_set_a_shared_file_aside(file: Path) -> None:
    tables = '[[array]]\ntopic = "t"\npartition = 1\n[[array]]\ntopic = "t"\npartition = 2'
    config = child(file, 'sources = ["a"]\noutput = "x"\n' + tables, CSV2KAFKA_BOOTSTRAP_SERVERS="h:1")
    assert (config.output, config.partition) == (None, 1)


def test_without_an_index_it_says_what_to_do(file: Path) -> None:
    (problem,) = problems(file, THREE, None)
    assert problem.startswith(f"{file}: has 3 [[array]] tables")
    assert f"{INDEX} is not set: AWS Batch sets it; to look at one child elsewhere, set it to 0 … 2" in problem


@pytest.mark.parametrize("index", ["3", "-1", "x", "1.0", "²"])
def test_an_index_that_no_table_has(file: Path, index: str) -> None:
    (problem,) = problems(file, THREE, index)
    assert f"expected {INDEX} to be 0 … 2, as there are 3 [[array]] tables, found {index!r}" in problem


def test_an_array_job_of_another_size_leaves_tables_out(file: Path) -> None:
    (problem,) = problems(file, THREE, "0", **{SIZE: "2"})
    assert "the array job has 2 children, and the file has 3 [[array]] tables" in problem
    assert child(file, THREE, "0", **{SIZE: "3"}).partition == 0


def test_an_unknown_key_names_its_child(file: Path) -> None:
    text = SHARED + '[[array]]\nsources = ["a"]\n[[array]]\nsources = ["b"]\npartition = 1\ntopik = "x"\n'
    (problem,) = problems(file, text, "0")
    assert problem == f"child 1 of {file}: 'topik' is not an option; did you mean topic?"


def test_a_misspelt_table_is_refused(file: Path) -> None:
    (problem,) = problems(file, 'sources = ["a"]\n' + SHARED + "[[arrays]]\npartition = 1", None)
    assert "'arrays' is not an option; did you mean array?" in problem


@pytest.mark.parametrize("index", ["0", "1"])
def test_a_wrong_value_is_told_to_every_child(file: Path, index: str) -> None:
    text = SHARED + '[[array]]\nsources = ["a"]\npartition = "x"\n[[array]]\nsources = ["b"]\npartition = 1\n'
    (problem,) = problems(file, text, index)
    assert problem.startswith("--partition (environment CSV2KAFKA_PARTITION, file key partition): expected a whole")
    assert problem.endswith(f"found 'x' in child 0 of {file}")


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ("[[array]]\n[[array]]\npartition = 1\n[[array]]\npartition = 0", "children 0 and 2 both have topic orders"),
        (
            '[[array]]\npartition = 1\n[[array]]\npartition = "+1"',
            "children 0 and 1 both have topic orders, partition 1",
        ),
        ('[[array]]\noutput = "x"\n[[array]]\noutput = "x"', "children 0 and 1 both have output x"),
        ('[[array]]\njob = "j"\n[[array]]\njob = "j"\npartition = 1', "children 0 and 1 both have job j"),
        ('[[array]]\ntopic = "ssm://t"\n[[array]]\ntopic = "ssm://t"', "both have topic ssm://t, partition 0"),
    ],
)
def test_two_children_have_no_place_and_no_name_in_common(file: Path, tables: str, said: str) -> None:
    found = problems(file, 'sources = ["a"]\n' + SHARED + tables, "0")
    assert said in found[0]


def test_what_all_children_share_is_held_against_them(file: Path) -> None:
    tables = "[[array]]\npartition = 1\n[[array]]\npartition = 2\n"
    assert child(file, 'sources = ["a"]\n' + SHARED + tables).partition == 1
    (problem,) = problems(file, 'job = "j"\nsources = ["a"]\n' + SHARED + tables)
    assert "children 0 and 1 both have job j: give each a name of its own" in problem
    (problem,) = problems(file, 'sources = ["a"]\n' + SHARED + tables, CSV2KAFKA_JOB="j")
    assert "children 0 and 1 both have job j" in problem


def test_the_environment_may_not_overrule_the_tables(file: Path) -> None:
    """It is the same for all children: each would load the same object, or into the same partition."""
    found = problems(file, THREE, "0", CSV2KAFKA_SOURCES="s3://b/z.csv", CSV2KAFKA_PARTITION="5")
    assert [problem.partition(" ")[0] for problem in found if AGAINST in problem] == ["SOURCE...", "--partition"]
    found = problems(file, SHARED + '[[array]]\nsources = ["a"]\noutput = "x"', "0", CSV2KAFKA_TOPIC="t")
    assert found[0].startswith("--output ")
    assert AGAINST in found[0]


def test_an_empty_variable_overrules_nothing(file: Path) -> None:
    config = child(file, THREE, "2", CSV2KAFKA_SOURCES="", CSV2KAFKA_PARTITION="", CSV2KAFKA_COMPRESSION="gzip")
    assert (config.sources, config.partition, config.compression) == (("s3://b/c.csv",), 2, "gzip")


def test_of_many_problems_the_first_are_told(file: Path) -> None:
    text = SHARED + "".join(f'[[array]]\nsources = ["a"]\npartition = {number}\nx = 1\n' for number in range(200))
    found = problems(file, text)
    assert len(found) == 11
    assert found[-1] == f"{file}: and 190 more like these"


@pytest.mark.parametrize("value", ["3", '"x"', "[]", "[1]", "{partition = 1}"])
def test_what_is_no_list_of_tables_is_refused(file: Path, value: str) -> None:
    (problem,) = problems(file, f"array = {value}")
    assert "expected [[array]] tables, one for each child" in problem


def test_children_that_nothing_tells_apart_are_refused(file: Path) -> None:
    file.write_text('sources = ["a"]\n' + SHARED)
    for given, said in ((file, f"{file} has no [[array]] tables"), (None, "no file with [[array]] tables is given")):
        environ = {INDEX: "1", "CSV2KAFKA_SOURCES": "a", "CSV2KAFKA_TOPIC": "t", "CSV2KAFKA_BOOTSTRAP_SERVERS": "h:1"}
        with pytest.raises(ConfigError, match="this is child 1 of an array job") as caught:
            load(RunConfig, environ=environ, file=given)
        assert said in str(caught.value)
        assert load(RunConfig, flags={"partition": "1"}, environ=environ, file=given).partition == 1


def test_a_command_that_reads_nothing_of_the_tables_needs_no_index(file: Path) -> None:
    file.write_text(THREE)
    assert load(ConnectConfig, file=file).bootstrap_servers == "h:1"
    assert load(ConnectConfig, environ={INDEX: "1"}).checkpoints == "memory://"
    file.write_text(SHARED + '[[array]]\nsources = ["a"]\ncheckpoints = "kafka://"')
    with pytest.raises(ConfigError, match="is not set"):
        load(ConnectConfig, file=file)
    assert load(ConnectConfig, environ={INDEX: "0"}, file=file).checkpoints == "kafka://"


def test_other_commands_take_the_childs_table_too(file: Path) -> None:
    file.write_text(THREE)
    assert load(ReadConfig, environ={INDEX: "2"}, file=file).sources == ("s3://b/c.csv",)


def test_a_remote_file_is_read_by_what_is_given_for_it() -> None:
    asked: list[str] = []

    def read(url: str) -> bytes:
        asked.append(url)
        return THREE.encode()

    assert load(RunConfig, environ={INDEX: "1"}, file="s3://b/c.toml", read=read).partition == 1
    assert asked == ["s3://b/c.toml"]
    with pytest.raises(ConfigError, match=r"child 0 of s3://b/c\.toml"):
        load(RunConfig, environ={INDEX: "0"}, file="s3://b/c.toml", read=lambda _: b"[[array]]\nx = 1")
    with pytest.raises(ConfigError, match=r"s3://b/c\.toml: not TOML"):
        load(RunConfig, file="s3://b/c.toml", read=lambda _: b"\xff")
    with pytest.raises(ConfigError, match=r"read=csv2kafka\.sources\.small_object\.read"):
        load(RunConfig, file="s3://b/c.toml")
