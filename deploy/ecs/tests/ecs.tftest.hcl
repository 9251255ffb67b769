# What this target makes. Nothing is made and no account is asked: terraform test, in the target's folder.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "testing"
  secret_key                  = "testing"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = module.common.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.common.data.aws_region.current
  values = { region = "eu-west-1" }
}

variables {
  source_bucket           = "example-exports"
  source_prefix           = "orders/"
  sources                 = ["s3://example-exports/orders/2026.csv"]
  topic                   = "orders"
  bootstrap_servers       = "b-1.example.abc123.c2.kafka.eu-west-1.amazonaws.com:9098"
  msk_cluster_arn         = "arn:aws:kafka:eu-west-1:123456789012:cluster/csv2kafka-example/a1b2c3d4-5678-90ab-cdef-11111example-2"
  kafka_security_group_id = "sg-0123456789abcdef0"
  vpc_id                  = "vpc-0123456789abcdef0"
  subnet_ids              = ["subnet-0123456789abcdef0"]
}

run "the_task" {
  command = plan

  assert {
    condition     = aws_ecs_task_definition.job.cpu == "4096" && aws_ecs_task_definition.job.memory == "8192" && aws_ecs_task_definition.job.runtime_platform[0].cpu_architecture == "ARM64"
    error_message = "Four vCPUs of ARM with the least memory."
  }
  assert {
    condition = {
      for name in ["command", "stopTimeout", "readonlyRootFilesystem", "user", "linuxParameters", "image"] :
      name => jsondecode(aws_ecs_task_definition.job.container_definitions)[0][name]
      } == {
      command                = ["run"]
      stopTimeout            = 120
      readonlyRootFilesystem = true
      user                   = "10001:10001"
      linuxParameters        = { capabilities = { drop = ["ALL"] } }
      image                  = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/csv2kafka-ecs:none"
    }
    error_message = "No shell, the longest stop time-out, no root, nothing to write to."
  }
  assert {
    condition     = contains(jsondecode(aws_ecs_task_definition.job.container_definitions)[0].environment, { name = "CSV2KAFKA_WATCH", value = "ecs" })
    error_message = "It looks for a stop."
  }
  assert {
    condition     = !strcontains(aws_ecs_task_definition.job.container_definitions, "entryPoint")
    error_message = "The entry point is the image's, in exec form."
  }
}

run "spot_and_not" {
  command = plan

  variables {
    spot = false
  }

  assert {
    condition     = one(aws_ecs_cluster_capacity_providers.jobs.default_capacity_provider_strategy).capacity_provider == "FARGATE" && local.running["Run"].Arguments.CapacityProviderStrategy[0].CapacityProvider == "FARGATE"
    error_message = "Without Spot, tasks run on Fargate."
  }
}

run "the_state_machine" {
  command = plan

  variables {
    max_attempts  = 7
    timeout_hours = 3
  }

  assert {
    condition     = local.running["Run"].Arguments.CapacityProviderStrategy[0].CapacityProvider == "FARGATE_SPOT" && local.running["Run"].Arguments.TaskDefinition == "csv2kafka-ecs"
    error_message = "Spot, and the newest revision."
  }
  assert {
    condition     = local.again == [69, 75, 137, 143] && length(setintersection(local.again, [1, 2, 65, 70, 76])) == 0
    error_message = "docs/errors.md says what is worth another run."
  }
  assert {
    condition     = local.waiting["Let its task end"].Seconds > jsondecode(aws_ecs_task_definition.job.container_definitions)[0].stopTimeout
    error_message = "A task that was left behind has ended before the turn is taken over."
  }
  assert {
    condition     = alltrue([for name, state in merge(local.waiting, local.running) : anytrue([for catch in state.Catch : contains(catch.ErrorEquals, "States.ALL")]) if state.Type == "Task"])
    error_message = "Whatever fails gives the turn back."
  }
  assert {
    condition     = aws_dynamodb_table.turns.hash_key == "turn" && local.turn.S == "${var.bootstrap_servers}/orders/0"
    error_message = "One turn for a partition."
  }
  assert {
    condition     = length(aws_cloudwatch_event_rule.upload) == 0 && length(aws_scheduler_schedule.job) == 0 && length(aws_iam_role.starts) == 0 && length(aws_s3_bucket_notification.events) == 0
    error_message = "Nothing starts by itself unless asked for."
  }
  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.failed.event_pattern).detail.status == ["FAILED", "TIMED_OUT", "ABORTED"]
    error_message = "Who is told of what."
  }
}

run "rights" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for document in [data.aws_iam_policy_document.state_machine, data.aws_iam_policy_document.execution, data.aws_iam_policy_document.starts] : [
        for statement in jsondecode(document.json).Statement : [for action in flatten([statement.Action]) : !strcontains(action, "*")]
      ]
    ]))
    error_message = "No wildcard in an action."
  }
  assert {
    condition = alltrue(flatten([
      for document in [data.aws_iam_policy_document.state_machine, data.aws_iam_policy_document.execution, data.aws_iam_policy_document.starts] : [
        for statement in jsondecode(document.json).Statement : statement.Resource != "*" || statement.Action == "ecr:GetAuthorizationToken"
      ]
    ]))
    error_message = "All resources only where an action has no resource type."
  }
}

run "uploads_and_a_schedule" {
  command = plan

  variables {
    run_on_upload        = true
    enable_bucket_events = true
    schedule             = "cron(0 4 * * ? *)"
    schedule_timezone    = "Europe/Berlin"
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.upload[0].event_pattern) == {
      source      = ["aws.s3"]
      detail-type = ["Object Created"]
      detail      = { bucket = { name = ["example-exports"] }, object = { key = [{ prefix = "orders/" }] } }
    }
    error_message = "Objects under the prefix, and no others."
  }
  assert {
    condition     = aws_s3_bucket_notification.events[0].eventbridge
    error_message = "The bucket tells EventBridge."
  }
  assert {
    condition     = jsondecode(aws_scheduler_schedule.job[0].target[0].input) == { scheduled = "<aws.scheduler.scheduled-time>" } && strcontains(aws_scheduler_schedule.job[0].target[0].input, "<")
    error_message = "The scheduler puts the time in only where it reads < as it is."
  }
  assert {
    condition     = keys(aws_iam_role.starts) == ["events", "scheduler"]
    error_message = "Each has a role of its own."
  }
}

run "an_image_of_ones_own" {
  command = plan

  variables {
    image = "210987654321.dkr.ecr.eu-central-1.amazonaws.com/team/csv2kafka:1.0"
  }

  assert {
    condition     = output.repository_url == null && strcontains(data.aws_iam_policy_document.execution.json, "arn:aws:ecr:eu-central-1:210987654321:repository/team/csv2kafka")
    error_message = "It may be pulled from where it is, and no repository is made."
  }
}

run "fargate_has_other_pairs" {
  command = plan

  variables {
    cpu    = 4096
    memory = 4096
  }

  expect_failures = [var.memory]
}

run "and_other_steps" {
  command = plan

  variables {
    cpu    = 8192
    memory = 17408
  }

  expect_failures = [var.memory]
}

run "fargate_has_other_cpus" {
  command = plan

  variables {
    cpu = 3000
  }

  expect_failures = [var.cpu]
}

run "a_topic_is_needed" {
  command = plan

  variables {
    topic = null
  }

  expect_failures = [aws_ecs_task_definition.job]
}

run "objects_that_are_moved_must_not_come_back" {
  command = plan

  variables {
    run_on_upload = true
    after         = "move:s3://example-exports/orders/loaded/"
  }

  expect_failures = [var.run_on_upload]
}

run "a_schedule_needs_sources" {
  command = plan

  variables {
    schedule     = "daily"
    sources      = []
    architecture = "arm64"
    image        = "csv2kafka"
    max_attempts = 0
  }

  expect_failures = [var.schedule, var.architecture, var.image, var.max_attempts]
}
