"""What others do to the job: an open transaction on its checkpoint partition, a password that is no longer one."""

from __future__ import annotations

import time

from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.chaos.job import PASSING, Problem, expect
from tests.chaos.places import OneBroker
from tests.chaos.trial import Trial

SECONDS = 20.0
LOOK = 1.0


def open_transaction(trial: Trial) -> None:
    """Another job's transaction is open on the checkpoint partition: begun amid our rows, and when none of us runs."""
    topic = f"{trial.fault}-{trial.seed}-checkpoints"
    job = trial.job(options=("--checkpoint-topic", topic))
    run = job.start(commits=20)
    run.until_rows(0)
    other = Producer({"bootstrap.servers": trial.place.servers, "transactional.id": topic, "log_level": 0})
    other.init_transactions(SECONDS)
    for _ in range(1 if trial.brief else 4):
        alive = trial.draw.random() < 0.5
        if not alive:
            trial.kill(run)
        other.begin_transaction()
        trial.times += 1
        other.produce(topic, key=b"unrelated", value=b"open", partition=0)
        other.flush(SECONDS)
        if alive:
            run.until_rows(run.rows)  # it goes on writing
            trial.kill(run)
        if run.code == 0:
            other.abort_transaction(SECONDS)
            break
        rows = run.rows
        run = job.start(commits=20)
        trial.pause(trial.draw.uniform(1, 6))
        if run.rows > rows:
            raise Problem("rows were committed by a run that cannot have seen its own claim")
        trial.draw.choice((other.abort_transaction, other.commit_transaction))(SECONDS)
        trial.goes_on(run, time.time())
    trial.kill(run)


def password_expired(trial: Trial) -> None:
    """Logins that last for two seconds (KIP-368); amid rows the password is changed; the next run has the new one."""
    assert isinstance(trial.place, OneBroker)
    user = f"user-{trial.seed}"
    options = ["security_protocol=SASL_PLAINTEXT", "sasl_mechanism=SCRAM-SHA-512", f"sasl_plain_username={user}"]
    job = trial.job(
        servers=trial.place.node.address("LOGIN"),
        options=tuple(part for option in options for part in ("--kafka", option)),
    )
    for number in range(2 if trial.brief else 4):
        password = f"password-{number}"
        _give(trial.place.servers, user, password)
        job.variables = {"CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD": password}
        run = job.start(commits=20)
        run.until_rows(run.rows)
        if number:
            trial.go_on.append(run.commits[0].at - run.started_at if run.commits else 0.0)
        trial.pause(LOOK)
        _give(trial.place.servers, user, "another")
        trial.times += 1
        if run.end() == 0:
            return
        expect(run, 2, *PASSING)
    _give(trial.place.servers, user, password)


def _give(servers: str, user: str, password: str) -> None:
    """The user has this password from now on."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    mechanism = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion(user, mechanism, password.encode())
    for done in admin.alter_user_scram_credentials([change]).values():
        done.result(SECONDS)
