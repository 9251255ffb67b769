"""What Terraform makes of templates, judged by linters of what comes out. deploy/lint/check has all the others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.deploy.conftest import Planned

ASL_VALIDATOR = "asl-validator@4.0.0"
SHELLCHECK = Path(sysconfig.get_path("scripts")) / "shellcheck"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npx") is None, reason="no Node.js to run the validator of state machines")
@pytest.mark.parametrize("more", [{}, {"after": "move:s3://example-exports/done/", "customer_managed_key": True}])
def test_the_state_machine_is_one_in_the_states_language(
    applied: Planned, more: dict[str, object], tmp_path: Path
) -> None:
    definition = tmp_path / "definition.json"
    definition.write_text(json.dumps(applied("ecs", **more).rendered("aws_sfn_state_machine.job")))
    found = subprocess.run(
        ["npx", "--yes", ASL_VALIDATOR, "--json-path", definition],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_user_data_is_sound_shell(applied: Planned, tmp_path: Path) -> None:
    script = tmp_path / "user_data.sh"
    script.write_text(applied("ec2").rendered("aws_launch_template.job"))
    found = subprocess.run([SHELLCHECK, script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
