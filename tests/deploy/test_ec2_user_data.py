"""The planned user data, run as a script on a machine of the test's: however the job ends and whatever fails, the
instance ends, its log is shipped, and the group starts another instance only where one should go on."""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.aws.imds import imds
from tests.deploy.conftest import Planned
from tests.deploy.sandbox import LONGEST_SECONDS, Machine, events, need_machine, with_settings

LAUNCH = "aws_launch_template.job"
DONE = 'echo \'{"event": "finished"}\' >&2; exit 0'
MakeMachine = Callable[..., Machine]


@pytest.fixture(scope="module")
def user_data(planned: Planned) -> str:
    """As planned, but waiting for tenths of seconds where it would wait for ten."""
    text: str = planned("ec2").rendered(LAUNCH)
    assert "  sleep 10\n" in text
    return with_settings(text.replace("  sleep 10\n", "  sleep 0.1\n"), PAUSE_SECONDS="0.1")


@pytest.fixture
def make_machine(tmp_path: Path) -> Iterator[MakeMachine]:
    """``make_machine("exit 75")``: one on which csv2kafka is this script. It is off when the test ends."""
    need_machine()
    made: list[Machine] = []
    with imds() as metadata:
        metadata.entries["instance-id"] = "i-0123456789abcdef0"

        def make(job: str = DONE) -> Machine:
            variables = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url}
            machine = Machine(tmp_path / f"machine-{len(made)}", variables)
            machine.write("job", f"#!/bin/bash\n{job}\n")
            machine.write("s3/run.env", "")
            with tarfile.open(machine.sandbox / "s3" / "bundle-arm64.tar.gz", "w:gz") as bundle:
                bundle.addfile(tarfile.TarInfo("bundle/requirements.txt"), io.BytesIO())
            made.append(machine)
            return machine

        yield make
        for machine in made:
            machine.kill()


def ended(machine: Machine) -> tuple[int, bool, int]:
    """The exit code and whether another instance is to go on, as the shipped log says; and the group's size.

    However it came to that: the watchdog was set first, and the instance ended itself.
    """
    assert re.fullmatch(r"-h \+[0-9]+", machine.shutdowns[0]), machine.told
    assert machine.shutdowns[-1] == "-h now", machine.told
    (line,) = [line for line in events(machine.shipped, "instance") if line["state"] == "ended"]
    return line["exit_code"], line["again"], machine.desired


def failures(machine: Machine) -> list[str]:
    """What the shipped lines say that the alarm looks for."""
    return [f"{line['exit_code']} {line['message']}" for line in events(machine.shipped, "failed")]


def test_a_job_that_is_done(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine(
        'id -un; ulimit -n; echo "home $HOME in $PWD, to $CSV2KAFKA_TOPIC, watching $CSV2KAFKA_WATCH"'
    )
    machine.start(user_data).wait()
    assert ended(machine) == (0, False, 0)
    assert failures(machine) == []
    assert "csv2kafka" in machine.shipped
    assert "home /var/lib/csv2kafka in /, to orders, watching ec2" in machine.shipped
    assert {request["logStreamName"] for request in machine.requests} == {"i-0123456789abcdef0"}
    assert {request["logGroupName"] for request in machine.requests} == {"csv2kafka-ec2"}
    assert machine.shutdowns == ["-h +1500", "-h now"]
    assert machine.log.split() == " ".join(machine.shipped).split()
    assert machine.console == ""
    # What the unit needs to get its SIGTERM alone, first, and in time.
    options = (machine.sandbox / "unit.options").read_text().split()
    assert {"--property=KillMode=mixed", "--property=OOMPolicy=continue"} <= set(options)
    assert "--property=After=network-online.target" in options


def test_what_it_writes_down_is_roots_alone(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine("cat /opt/csv2kafka/environment; cat /opt/csv2kafka/settings; exit 0")
    machine.start(user_data).wait()
    for name in ("environment", "settings", "run_job"):
        assert (machine.directory / "upper/opt/csv2kafka" / name).stat().st_mode & 0o077 == 0
    assert len([line for line in machine.shipped if line.endswith("Permission denied")]) == 2


def test_what_a_run_was_told(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine('echo "$CSV2KAFKA_SOURCES as ${CSV2KAFKA_JOB-none}"')
    machine.write("s3/run.env", "unset CSV2KAFKA_JOB\nCSV2KAFKA_SOURCES=\"'s3://b/a b.csv' s3://b/c.csv\"\n")
    machine.start(user_data).wait()
    assert "'s3://b/a b.csv' s3://b/c.csv as none" in machine.shipped


@pytest.mark.parametrize("code", [69, 75, 137, 143])
def test_an_exit_that_another_instance_goes_on_after(code: int, make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine(f"exit {code}" if code < 128 else f"kill -{code - 128} $$")
    machine.start(user_data).wait()
    assert ended(machine) == (code, True, 1)
    assert failures(machine) == []


@pytest.mark.parametrize("code", [1, 2, 65, 70, 76])
def test_an_exit_that_a_person_decides_on(code: int, make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine(f'echo \'{{"event": "failed", "exit_code": {code}, "message": "so"}}\' >&2; exit {code}')
    machine.start(user_data).wait()
    assert ended(machine) == (code, False, 0)
    assert failures(machine) == [f"{code} so"]  # csv2kafka's own, and no second one


@pytest.mark.parametrize("code", [1, 3, 127, 139])
def test_an_exit_without_a_reason_is_a_failure_too(code: int, make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine(f"printf 'a line without an end'; exit {code}")
    machine.start(user_data).wait()
    assert ended(machine) == (code, False, 0)
    assert failures(machine) == [f"1 csv2kafka ended with {code} and did not say why"]
    assert "a line without an end" in machine.shipped


STEPS = {
    "dnf": "installing Python",
    "aws-s3": "fetching the bundle",
    "tar": "unpacking the bundle",
    "venv": "making the virtual environment",
    "pip": "installing csv2kafka",
    "useradd": "adding the user",
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_fails(name: str, make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    machine.fail(name, 3)
    machine.start(user_data).wait()
    assert ended(machine) == (1, False, 0)
    assert failures(machine) == [f"1 {STEPS[name]} failed on the instance, three times, the last with 9"]
    assert '{"event": "finished"}' not in machine.shipped


def test_steps_that_fail_once_or_twice(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    for name in (*STEPS, "aws-autoscaling", "aws-put-log-events"):
        machine.fail(name, 2)
    machine.start(user_data).wait()
    assert ended(machine) == (0, False, 0)
    assert failures(machine) == []
    assert len([line for line in machine.shipped if ": try " in line]) == 2 * len(STEPS)
    assert '{"event": "finished"}' in machine.shipped


def test_nothing_to_fetch(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    (machine.sandbox / "s3" / "run.env").unlink()
    machine.start(user_data).wait()
    assert ended(machine) == (1, False, 0)
    assert failures(machine) == ["1 fetching what to run failed on the instance, three times, the last with 1"]


def test_a_step_that_hangs(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    machine.program("dnf", "#!/bin/bash\nsleep 1000\n")
    machine.start(with_settings(user_data, STEP_SECONDS="0.2")).wait()
    assert ended(machine) == (1, False, 0)
    assert failures(machine) == ["1 installing Python failed on the instance, three times, the last with 124"]


def test_logs_that_do_not_answer_stand_on_the_console(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine("echo something; exit 65")
    machine.fail("aws-put-log-events", 1000)
    machine.start(user_data.replace("--rest 40", "--rest 1")).wait()
    assert machine.shutdowns[-1] == "-h now"
    assert (machine.shipped, machine.desired) == ([], 0)
    assert "something\n" in machine.console
    assert '"event": "failed"' in machine.console


def test_a_group_that_does_not_answer(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    machine.fail("aws-autoscaling", 1000)
    machine.start(user_data).wait()
    assert ended(machine) == (0, False, 1)  # the alarm of the group's own ends that
    assert failures(machine) == ["1 the group csv2kafka-ec2 could not be told that no further instance is needed"]
    assert len([call for call in machine.calls if call.startswith("aws-autoscaling")]) == 10


def test_no_metadata(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    machine.program("curl", "#!/bin/bash\nexit 7\n")
    machine.start(user_data).wait()
    assert ended(machine) == (0, False, 0)


# A program that says why it fails, and in what no JSON has.
BROKEN = r"""#!/bin/bash
for number in {1..30}; do echo "line $number" >&2; done
printf 'no "room"\tin C:\\new & \e[31mon \xc3\xa4 \xff disk\n' >&2
exit 9
"""
WHY = r'no "room"?in C:\new & ?[31mon ?? ? disk'


@pytest.mark.parametrize("name", ["mkdir", "cat"])
def test_user_data_that_breaks_half_way(name: str, make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    machine.program(name, BROKEN)
    machine.start(user_data).wait()
    assert machine.shutdowns == ["-h +1500", "-h now"]
    assert failures(machine) == ["1 user data broke before the job began"]
    assert machine.desired == 0
    (why, _) = machine.shipped
    assert why.splitlines() == ["the end of cloud-init-output.log:", *(f"line {n}" for n in range(12, 31)), WHY]
    assert machine.console == ""


def test_user_data_that_breaks_says_a_bounded_part_of_why(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    machine.program("mkdir", "#!/bin/bash\nprintf '%0100000dthe end\\n' 0 >&2\nexit 9\n")
    machine.start(user_data).wait()
    (why, _) = machine.shipped
    assert why.endswith("0the end")
    assert len(why) < 2100


def test_user_data_that_breaks_tells_nothing_of_the_environment(make_machine: MakeMachine, planned: Planned) -> None:
    machine = make_machine()
    text = planned("ec2", environment={"CSV2KAFKA_KEY": "hush-hush"}).rendered(LAUNCH)
    assert "hush-hush" in text
    machine.start(text.replace("\nsystemd-run ", "\nfalse\nsystemd-run ")).wait()
    assert failures(machine) == ["1 user data broke before the job began"]
    assert "hush-hush" not in " ".join([*machine.shipped, *machine.calls, machine.told])


def test_user_data_that_breaks_tries_each_call_three_times(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    machine.program("mkdir", BROKEN)
    for name in ("aws-create-log-stream", "aws-put-log-events", "aws-autoscaling"):
        machine.fail(name, 2)
    machine.start(user_data).wait()
    assert failures(machine) == ["1 user data broke before the job began"]
    assert (machine.shutdowns[-1], machine.desired, machine.console) == ("-h now", 0, "")


def test_user_data_that_breaks_where_no_log_answers_stands_on_the_console(
    make_machine: MakeMachine, user_data: str
) -> None:
    machine = make_machine()
    machine.program("mkdir", BROKEN)
    machine.fail("aws-put-log-events", 1000)
    machine.start(user_data).wait()
    assert (machine.shutdowns[-1], machine.desired, machine.shipped) == ("-h now", 0, [])
    (why, failed) = (event["message"] for event in json.loads(machine.console))
    assert why.endswith(WHY)
    assert json.loads(failed)["event"] == "failed"
    assert len([call for call in machine.calls if call.startswith("aws-put-log-events")]) == 3


@pytest.mark.parametrize(("times", "end"), [(1, "shutdown -h now"), (2, "systemctl poweroff --force")])
def test_a_watchdog_that_cannot_be_set(times: int, end: str, make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    machine.fail("shutdown", times)
    machine.start(user_data).wait()
    assert machine.calls[0] == "shutdown -h +1500"
    assert machine.calls[-1] == end
    assert failures(machine) == ["1 user data broke before the job began"]
    assert machine.desired == 0


def test_no_unit_of_its_own(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    machine.fail("systemd-run", 1)
    machine.start(user_data).wait()
    assert ended(machine) == (0, False, 0)


def test_a_job_that_takes_too_long(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine("trap 'exit 75' TERM; sleep 1000 & wait")
    machine.start(with_settings(user_data, LIMIT_SECONDS="3")).wait()
    assert ended(machine) == (124, False, 0)
    assert failures(machine) == ["1 the job was not done after 0 hours (max_hours), and was stopped"]


def test_a_job_that_takes_too_long_and_does_not_mind_being_told(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine("trap '' TERM; while :; do sleep 0.1; done")
    machine.start(with_settings(user_data, LIMIT_SECONDS="3").replace("--kill-after=45", "--kill-after=1")).wait()
    assert ended(machine) == (124, False, 0)


def test_the_watchdog_ends_what_hangs(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine("trap 'exit 75' TERM; echo runs; sleep 1000 & wait").start(user_data)
    wait_for(machine, "runs")
    machine.write("time-is-over", "")
    machine.wait()
    assert ended(machine) == (75, True, 1)  # another one goes on, within the group's own bound


def test_an_instance_that_is_taken_away(make_machine: MakeMachine, user_data: str) -> None:
    """SIGTERM reaches the job, which has its time to commit, and its last lines are shipped."""
    machine = make_machine("trap 'sleep 1; echo committed; exit 75' TERM; echo runs; sleep 1000 & wait")
    machine.start(user_data)
    wait_for(machine, "runs")
    machine.stop()
    machine.wait()
    assert ended(machine) == (75, True, 1)
    assert "committed" in machine.shipped


def test_an_instance_that_is_taken_away_while_it_installs(make_machine: MakeMachine, user_data: str) -> None:
    machine = make_machine()
    machine.program("dnf", "#!/bin/bash\necho installs\nsleep 1000\n")
    machine.start(user_data)
    wait_for(machine, "installs")
    machine.stop()
    machine.wait()
    assert ended(machine) == (143, True, 1)
    assert failures(machine) == []


def wait_for(machine: Machine, word: str) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while word not in machine.log.split():
        assert time.monotonic() < deadline, machine.told
        time.sleep(0.05)
