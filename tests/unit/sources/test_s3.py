"""What of S3 sources needs no S3: URLs, which keys they name, options, what --after may be."""

from __future__ import annotations

import base64
import glob
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from csv2kafka.errors import ConfigError
from csv2kafka.sources.s3 import S3Source
from csv2kafka.sources.s3_after import After, check_after, parse_after, targets
from csv2kafka.sources.s3_pin import Pin
from csv2kafka.sources.s3_settings import OPTIONS, s3_settings
from csv2kafka.sources.s3_urls import S3Url, in_order, named_by, parse

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of many files, three deep, some of them hidden."""
    root = tmp_path_factory.mktemp("tree")
    for folder in ("", "a", "b", ".a", "a/b", "a/.b", "b/a"):
        (root / folder).mkdir(exist_ok=True)
        for name in (first + second for first in "x.-^!]\\" for second in ("", "x", "y", "-", "]", "yx")):
            if name != ".":
                (root / folder / name).touch()
    return root


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "bucket", "key"),
        [
            ("s3://bucket/a/b.csv", "bucket", "a/b.csv"),
            ("s3://bucket/a/", "bucket", "a/"),
            ("s3://bucket", "bucket", ""),
            ("s3://bucket//a b?#%20.csv", "bucket", "/a b?#%20.csv"),
            ("s3://My.Old_Bucket/a", "My.Old_Bucket", "a"),
            *(
                (f"s3://{arn}/in/a.csv", arn, "in/a.csv")
                for arn in (
                    "arn:aws:s3:eu-west-1:123456789012:accesspoint/finance",
                    "arn:aws:s3:eu-west-1:123456789012:accesspoint:finance",
                    "arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint/finance",
                    "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
                    "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-01ac5d28a6a232904/accesspoint/finance",
                )
            ),
            (
                "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/finance",
                "arn:aws:s3:eu-west-1:123456789012:accesspoint/finance",
                "",
            ),
        ],
    )
    def test_are_split_as_the_aws_cli_does(self, url: str, bucket: str, key: str) -> None:
        assert parse(url) == S3Url(bucket, key)

    @pytest.mark.parametrize("url", ["s3:///a.csv", "s3://", "bucket/a.csv", "s3://buck et/a", "s3://arn:aws:sns:x/a"])
    def test_others_are_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="expected s3://BUCKET/KEY"):
            parse(url)

    def test_all_problems_of_a_source_at_once(self) -> None:
        with pytest.raises(ConfigError) as caught:
            S3Source("s3://", "s3://b/k", "s3://?", parallel="many", regio="x")
        assert len(caught.value.problems) == 4
        assert S3Source("s3://b/k", "s3://b/p/").uri == "s3://b/k s3://b/p/"


class TestNames:
    KEYS = ("in/part-10.csv", "in/part-9.csv", "in/.hidden.csv", "in/_SUCCESS", "in/a/part-1.csv", "in/", "part-1.csv")

    def test_a_prefix(self) -> None:
        assert in_order(named_by(S3Url("b", "in/"), self.KEYS)) == ["in/part-9.csv", "in/part-10.csv"]
        assert named_by(S3Url("b", ""), self.KEYS) == ["part-1.csv"]

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("in/*", ["in/_SUCCESS", "in/part-9.csv", "in/part-10.csv"]),
            ("in/.*", ["in/.hidden.csv"]),
            ("**/part-*.csv", ["part-1.csv", "in/a/part-1.csv", "in/part-9.csv", "in/part-10.csv"]),
            ("in/**", ["in/_SUCCESS", "in/a/part-1.csv", "in/part-9.csv", "in/part-10.csv"]),
            ("*/part-[!1].csv", ["in/part-9.csv"]),
            ("*/part-?.csv", ["in/part-9.csv"]),
            ("in/part-[19].csv", ["in/part-9.csv"]),
        ],
    )
    def test_a_glob(self, pattern: str, found: list[str]) -> None:
        assert sorted(named_by(S3Url("b", pattern), self.KEYS)) == sorted(found)

    @given(
        st.lists(st.sampled_from([*"xyab.*?[]!-^\\/", "*/", "**/", "[!x", "a/"]), min_size=1, max_size=9).map("".join)
    )
    @example("[?-.]")
    @example("**/x")
    @example("**/*/**")
    def test_a_glob_matches_as_pythons(self, tree: Path, pattern: str) -> None:
        """But for what keys do not have: folders, and names between two slashes that are empty, ``.`` or ``..``."""
        if not glob.has_magic(pattern) or {"", ".", ".."} & {*pattern.split("/")}:
            return
        files = [str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()]
        found = glob.glob(pattern, root_dir=tree, recursive=True)  # noqa: PTH207 (the one it is held against)
        expected = {name for name in found if (tree / name).is_file()}
        assert sorted(named_by(S3Url("b", pattern), files)) == sorted(expected)

    def test_what_all_keys_begin_with(self) -> None:
        url = S3Url("b", "in/2024-*/part-?.csv")
        assert (url.fixed, url.folder) == ("in/2024-", "in/")
        assert S3Url("b", "in/a.csv").folder == "in/"


class TestPin:
    @pytest.mark.parametrize("pin", [Pin(version_id="3L4kqtJl=x"), Pin(etag='"9b=2c"')])
    def test_goes_to_text_and_back(self, pin: Pin) -> None:
        assert Pin.of(str(pin)) == pin


class TestOptions:
    def test_defaults(self) -> None:
        settings = s3_settings({})
        assert (settings.of_requests, settings.of_content) == ({}, {})
        assert settings.values["range_bytes"] * settings.values["parallel"] == 32 << 20

    @pytest.mark.parametrize("key", [KEY, KEY.encode(), base64.b64encode(KEY.encode()).decode()])
    def test_a_customers_key_is_taken_as_boto3_does_or_in_base64(self, key: Any) -> None:
        assert s3_settings({"sse_customer_key": key}).of_content["SSECustomerKey"] == KEY.encode()

    def test_a_customers_key_is_never_shown(self) -> None:
        with pytest.raises(ConfigError) as caught:
            s3_settings({"sse_customer_key": "too-short-s3cret"})
        assert "32 bytes" in caught.value.problems[0]
        assert "s3cret" not in str(caught.value)
        assert KEY not in repr(s3_settings({"sse_customer_key": KEY}))

    def test_all_problems_at_once_with_flag_variable_and_key(self) -> None:
        with pytest.raises(ConfigError) as caught:
            s3_settings(
                {"request_payr": "requester", "parallel": 0, "endpoint_url": "minio:9000", "anonymous": "perhaps"}
            )
        problems = caught.value.problems
        assert len(problems) == 4
        assert "did you mean request_payer?" in problems[0]
        assert "--s3 parallel=… (environment CSV2KAFKA_S3_PARALLEL, file key [s3] parallel)" in problems[1]

    @pytest.mark.parametrize("etag", ["0a1b-2", '"0a1b-2"'])
    def test_an_etag_with_and_without_quotes(self, etag: str) -> None:
        assert s3_settings({"if_match": etag}).exact == {"IfMatch": '"0a1b-2"'}
        assert s3_settings({"version_id": "_v.1"}).exact == {"VersionId": "_v.1"}
        assert s3_settings({}).exact == {}

    def test_what_is_kept_without_versions_has_no_version_to_name(self) -> None:
        with pytest.raises(ConfigError, match=r"--s3 version_id=.*if_match.*found 'null'"):
            s3_settings({"version_id": "null"})

    def test_a_version_is_of_one_object_and_named_once(self) -> None:
        S3Source("s3://bucket/a*.csv", version_id="v1")
        with pytest.raises(ConfigError, match="expected no if_match besides"):
            S3Source("s3://bucket/a.csv", version_id="v1", if_match="0a1b")
        for urls, found in (
            (["s3://bucket/a/"], "found 's3://bucket/a/'"),
            (["s3://bucket/a.csv", "s3://bucket/b.csv"], "found 2 sources"),
        ):
            for option in ("version_id", "if_match"):
                given: dict[str, Any] = {option: "v1"}
                with pytest.raises(ConfigError, match=f"--s3 {option}=.*is for one object.*{found}"):
                    S3Source(*urls, **given)

    def test_every_default_is_a_value_of_its_kind(self) -> None:
        assert all(said.about and said.kind.parse(said.default) == said.default for said in OPTIONS.values())


class TestAfter:
    @pytest.mark.parametrize(
        ("text", "after"),
        [
            ("tag", After("tag", ("csv2kafka", "done"))),
            ("tag:state=a=b", After("tag", ("state", "a=b"))),
            ("tag:state=", After("tag", ("state", ""))),
            ("delete", After("delete")),
            ("move:s3://b/done/", After("move", target=S3Url("b", "done/"))),
            ("move:s3://b", After("move", target=S3Url("b", ""))),
        ],
    )
    def test_is_read(self, text: str, after: After) -> None:
        assert parse_after(text) == after
        check_after(["s3://b/in/"] if after.target.key else ["s3://c/in/"], text)

    @pytest.mark.parametrize(
        "text", ["", "tag:", "tag:x", "tag:aws:x=y", "tag:x=ä*", "move:", "move:s3://b/key", "move:/tmp/", "delete:x"]
    )
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="expected tag, tag:KEY=VALUE"):
            check_after(["s3://b/in/"], text)

    @pytest.mark.parametrize(
        ("source", "target", "refused"),
        [
            ("s3://b/in/", "s3://b/in/", True),
            ("s3://b/in/", "s3://b/in/done/", True),
            ("s3://b/in/", "s3://b/done/", False),
            ("s3://b/in/", "s3://c/in/", False),
            ("s3://b/in/*.csv", "s3://b/in/", True),
            ("s3://b/in/2024-*/x.csv", "s3://b/in/2024-done/", True),
            ("s3://b/in/2024-*/x.csv", "s3://b/in/", True),
            ("s3://b/in/2024-*/x.csv", "s3://b/in/done/", False),
            ("s3://b/in/**", "s3://b/", True),
            ("s3://b/in/x.csv", "s3://b/in/", True),
            ("s3://b/in/x.csv", "s3://b/in/done/", False),
        ],
    )
    def test_a_target_that_would_be_read_again_is_refused(self, source: str, target: str, refused: bool) -> None:
        with pytest.raises(ConfigError, match=re.escape(repr(source))) if refused else nullcontext():
            check_after(["s3://z/", source], f"move:{target}")

    def test_is_for_s3(self) -> None:
        with pytest.raises(ConfigError, match="is for sources in S3"):
            check_after([str(Path("/tmp/a.csv"))], "delete")

    def test_objects_keep_their_names_below_their_sources_folder(self) -> None:
        urls = [S3Url("b", "in/*/x-*.csv"), S3Url("b", "in/a/y.csv")]
        objects = [S3Url("b", "in/a/x-1.csv"), S3Url("b", "in/c/x-1.csv")]
        found = targets(urls[:1], objects, S3Url("c", "done/"))
        assert [target.key for target in found.values()] == ["done/a/x-1.csv", "done/c/x-1.csv"]
        found = targets(urls[1:], [S3Url("b", "in/a/y.csv")], S3Url("c", ""))
        assert [target.key for target in found.values()] == ["y.csv"]

    def test_two_that_would_become_one_are_refused(self) -> None:
        urls = [S3Url("b", "a/x.csv"), S3Url("b", "c/x.csv")]
        with pytest.raises(ConfigError, match=r"s3://b/a/x\.csv and s3://b/c/x\.csv would both become s3://d/x\.csv"):
            targets(urls, urls, S3Url("d", ""))

    def test_one_that_would_be_moved_over_another_is_refused(self) -> None:
        """Its name would be that of an object of another source, whose rows are there, and whose content would go."""
        urls = [S3Url("b", "in/**/*.csv"), S3Url("b", "done/sub/y.csv")]
        objects = [S3Url("b", "in/sub/y.csv"), S3Url("b", "done/sub/y.csv")]
        with pytest.raises(ConfigError, match=r"s3://b/in/sub/y\.csv would be moved over s3://b/done/sub/y\.csv"):
            targets(urls, objects, S3Url("b", "done/"))
