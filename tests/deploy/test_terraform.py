"""The helper that plans deploy/: what it gives is what Terraform says, and nothing is left in the tree it plans."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from tests.deploy.terraform import Refused, Terraform, plain

VARIABLES = """
variable "topic" {
  type = string
  validation {
    condition     = can(regex("^[a-z]+$", var.topic))
    error_message = "topic is ${var.topic}: expected small letters. Change it."
  }
}
variable "at" {
  type    = string
  default = "once"
}
"""
MAIN = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}
module "common" {
  source = "../modules/common"
  topic  = var.topic
  at     = var.at
}
resource "aws_ecs_task_definition" "job" {
  family                = "job"
  container_definitions = jsonencode([{ name = "job", table = module.common.arn }])
}
resource "aws_launch_template" "job" {
  name      = "job"
  user_data = base64encode("echo ${var.topic}")
}
output "topic" { value = var.topic }
"""
MODULE = """
resource "aws_dynamodb_table" "checkpoints" {
  name     = var.topic
  hash_key = "job"
  tags     = { at = var.at == "once" ? "once" : timestamp() }
}
output "arn" { value = aws_dynamodb_table.checkpoints.arn }
"""


@pytest.fixture
def small(terraform: Terraform, tmp_path: Path) -> Terraform:
    """One over a tiny tree in the shape of deploy/."""
    common, target = tmp_path / "source" / "modules" / "common", tmp_path / "source" / "tiny"
    common.mkdir(parents=True)
    target.mkdir()
    (common / "variables.tf").write_text(VARIABLES)
    (common / "main.tf").write_text(MODULE)
    (target / "main.tf").write_text(MAIN)
    (target / "common.tf").symlink_to("../modules/common/variables.tf")
    (target / "terraform.tfvars").write_text('topic = "mine"')
    (tmp_path / "work").mkdir()
    (tmp_path / "answers").mkdir()
    return evolve(terraform, directory=tmp_path / "work", answers=tmp_path / "answers", source=tmp_path / "source")


def test_a_plan(small: Terraform) -> None:
    before = sorted(small.source.rglob("*"))
    plan = small.plan("tiny")
    assert plan.resource("module.common.aws_dynamodb_table.checkpoints")["name"] == "orders"
    assert set(plan.of_type("aws_launch_template")) == {"aws_launch_template.job"}
    assert plan.only("aws_dynamodb_table")["hash_key"] == "job"
    assert plan.outputs == {"topic": "orders"}
    assert plan.rendered("aws_launch_template.job") == "echo orders"
    assert small.plan("tiny") is plan
    assert small.plan("tiny", topic="other").outputs == {"topic": "other"}
    assert sorted(small.source.rglob("*")) == before


def test_another_process_finds_the_answer(small: Terraform, tmp_path: Path) -> None:
    first = small.plan("tiny")
    with pytest.raises(Refused):
        small.plan("tiny", topic="NOT")
    (tmp_path / "other").mkdir()
    other = evolve(small, directory=tmp_path / "other", binary="/bin/false")  # it would fail if it were called
    assert other.plan("tiny") == first
    assert "topic is NOT" in other.refusal("tiny", topic="NOT")


def test_what_is_known_after_an_apply_is_not_in_a_plan(small: Terraform) -> None:
    with pytest.raises(AssertionError, match="is not known before an apply"):
        small.plan("tiny").rendered("aws_ecs_task_definition.job")
    (container,) = small.apply("tiny").rendered("aws_ecs_task_definition.job")
    assert container["table"].startswith("arn:aws:dynamodb:")


def test_a_second_plan_that_is_not_empty_fails(small: Terraform) -> None:
    with pytest.raises(AssertionError, match=r"(?s)a second plan is not empty:.*aws_dynamodb_table\.checkpoints"):
        small.apply("tiny", at="always")


def test_a_refusal_is_one_line_with_its_reason(small: Terraform) -> None:
    said = small.refusal("tiny", topic="NOT")
    assert said.startswith("Invalid value for variable: topic is NOT: expected small letters. Change it.")
    with pytest.raises(AssertionError, match="was to be refused"):
        small.refusal("tiny")
    for _ in range(2):
        with pytest.raises(Refused, match="topic is NOT"):
            small.plan("tiny", topic="NOT")


def test_a_file_of_variables_as_it_stands(small: Terraform, tmp_path: Path) -> None:
    file = tmp_path / "some.tfvars"
    file.write_text('topic = "mine"')
    assert small.plan_file("tiny", file).outputs == {"topic": "mine"}
    assert small.apply_file("tiny", file).outputs == {"topic": "mine"}


def test_a_resource_that_is_not_there_is_told_with_those_near_to_it(small: Terraform) -> None:
    with pytest.raises(AssertionError, match=r"near to it: module\.common\.aws_dynamodb_table\.checkpoints"):
        small.plan("tiny").resource("aws_dynamodb_table.checkpoint")


def test_user_data_may_be_compressed() -> None:
    assert plain("H4sIAAAAAAACA0tNzshXyC9KSS0qBgCfwPQFCwAAAA==") == "echo orders"
