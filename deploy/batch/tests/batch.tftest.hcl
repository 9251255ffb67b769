# What Terraform's schema cannot see, held by a plan without an account.

mock_provider "aws" {
  override_data {
    target = module.common.data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }
  override_data {
    target = module.common.data.aws_partition.current
    values = { partition = "aws" }
  }
  override_data {
    target = module.common.data.aws_region.current
    values = { region = "eu-west-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name                    = "csv2kafka"
  source_bucket           = "my-exports"
  source_prefix           = "orders/"
  sources                 = ["s3://my-exports/orders/2026.csv"]
  topic                   = "orders"
  bootstrap_servers       = "b-1.mine.kafka.eu-west-1.amazonaws.com:9098"
  msk_cluster_arn         = "arn:aws:kafka:eu-west-1:123456789012:cluster/mine/0a1b2c3d"
  kafka_security_group_id = "sg-0a1b2c3d4e5f60718"
  vpc_id                  = "vpc-0a1b2c3d4e5f60718"
  subnet_ids              = ["subnet-0a1b2c3d4e5f60718"]
}

run "spot_that_scales_to_zero" {
  command = plan

  assert {
    condition     = keys(aws_batch_compute_environment.instances) == ["spot"]
    error_message = "Nothing but Spot unless it is asked for."
  }
  assert {
    condition = alltrue([for compute in aws_batch_compute_environment.instances["spot"].compute_resources :
    compute.type == "SPOT" && compute.allocation_strategy == "SPOT_PRICE_CAPACITY_OPTIMIZED" && compute.min_vcpus == 0 && compute.max_vcpus == 16])
    error_message = "Spot by price and capacity, and nothing that runs without jobs."
  }
  assert {
    condition     = alltrue([for compute in aws_batch_compute_environment.instances["spot"].compute_resources : length(compute.instance_type) >= 4])
    error_message = "Several types, or capacity is not found."
  }
  assert {
    condition     = alltrue([for kind in local.instance_types : can(regex("^[cm][0-9]g\\.", kind))])
    error_message = "Graviton by default."
  }
}

run "instances_are_closed" {
  command = plan

  assert {
    condition     = aws_launch_template.instance.metadata_options[0].http_tokens == "required" && aws_launch_template.instance.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "IMDSv2 alone, and no further than the instance's own network, which jobs share."
  }
  assert {
    condition     = aws_launch_template.instance.block_device_mappings[0].ebs[0].encrypted == "true"
    error_message = "Disks are encrypted."
  }
  assert {
    condition     = strcontains(base64decode(aws_launch_template.instance.user_data), "\nECS_ENABLE_SPOT_INSTANCE_DRAINING=true\nECS_CONTAINER_STOP_TIMEOUT=2m\nEOF\n")
    error_message = "ecs.config is appended to at the beginning of lines, or the agent reads nothing."
  }
  assert {
    condition     = startswith(base64decode(aws_launch_template.instance.user_data), "MIME-Version: 1.0\n")
    error_message = "Batch takes user data as a MIME multi-part archive alone."
  }
}

run "retries" {
  command = plan

  assert {
    condition = alltrue([for definition in aws_batch_job_definition.job : alltrue([for strategy in definition.retry_strategy : [
      for rule in strategy.evaluate_on_exit : "${rule.action} ${coalesce(rule.on_status_reason, "-")} ${coalesce(rule.on_exit_code, "-")} ${coalesce(rule.on_reason, "-")}"
      ] == [
      "RETRY Host EC2* - -", "RETRY - 75 -", "RETRY - 69 -", "RETRY - 137 -", "EXIT - - *",
    ] && strategy.attempts == 10])])
    error_message = "Retried are Spot reclaims, 75, 69 and 137, and nothing else."
  }
  assert {
    condition     = alltrue([for definition in aws_batch_job_definition.job : definition.timeout[0].attempt_duration_seconds == 86400])
    error_message = "An attempt has an end."
  }
}

run "an_array_jobs_children_are_told_by_their_tables" {
  command = plan

  assert {
    condition     = length(setintersection(keys(local.child_environment), ["CSV2KAFKA_SOURCES", "CSV2KAFKA_TOPIC", "CSV2KAFKA_PARTITION", "CSV2KAFKA_JOB"])) == 0
    error_message = "The environment would win over what each child's table says."
  }
  assert {
    condition     = local.environment["CSV2KAFKA_SOURCES"] == "'s3://my-exports/orders/2026.csv'" && local.environment["CSV2KAFKA_WATCH"] == "spot"
    error_message = "A job is told its source, and looks out for Spot notices."
  }
}

run "failed_jobs_are_told_once" {
  command = plan

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.jobs["failed"].event_pattern) == {
      source      = ["aws.batch"]
      detail-type = ["Batch Job State Change"]
      detail = {
        jobQueue        = ["arn:aws:batch:eu-west-1:123456789012:job-queue/csv2kafka-batch"]
        status          = ["FAILED"]
        arrayProperties = { index = [{ exists = false }] }
      }
    }
    error_message = "Failed jobs of this queue, and not the thousands of children of one array job."
  }
}

run "on_demand_where_it_is_asked_for" {
  command = plan

  variables {
    on_demand_fallback = true
  }

  assert {
    condition     = [for order in aws_batch_job_queue.jobs.compute_environment_order : order.order] == [1, 2] && length(aws_batch_compute_environment.instances) == 2
    error_message = "Two environments, in order."
  }
  assert {
    condition     = alltrue([for compute in aws_batch_compute_environment.instances["on-demand"].compute_resources : compute.type == "EC2" && compute.min_vcpus == 0])
    error_message = "The second is On-Demand, and scales to zero too."
  }
}

run "types_of_another_architecture" {
  command = plan

  variables {
    instance_types = ["c7g.xlarge", "c7i.xlarge"]
  }

  expect_failures = [var.instance_types]
}

run "one_type_is_too_few_for_spot" {
  command = plan

  variables {
    instance_types = ["c7g.xlarge"]
  }

  expect_failures = [var.instance_types]
}

run "less_than_a_job_needs" {
  command = plan

  variables {
    max_vcpus = 2
  }

  expect_failures = [var.max_vcpus]
}

run "more_attempts_than_batch_has" {
  command = plan

  variables {
    attempts = 11
  }

  expect_failures = [var.attempts]
}

run "manifests_among_the_exports" {
  command = plan

  variables {
    manifest_prefix = "orders/jobs/"
  }

  expect_failures = [var.manifest_prefix]
}

run "an_image_without_a_tag" {
  command = plan

  variables {
    image = "registry.example.com/csv2kafka"
  }

  expect_failures = [var.image]
}
