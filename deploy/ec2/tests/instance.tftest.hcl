# What must hold of the instance, its group and its rights, whatever is changed here.

mock_provider "aws" {
  override_during = plan

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { region = "eu-west-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
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

run "the_instance" {
  command = plan

  assert {
    condition     = aws_launch_template.job.metadata_options[0].http_tokens == "required" && aws_launch_template.job.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "Metadata must need a token (IMDSv2), and be out of reach of containers."
  }
  assert {
    condition     = aws_launch_template.job.instance_initiated_shutdown_behavior == "terminate"
    error_message = "A shutdown must end the instance: it is what ends what it costs."
  }
  assert {
    condition     = aws_launch_template.job.key_name == null && aws_launch_template.job.network_interfaces[0].associate_public_ip_address == "false"
    error_message = "Nobody logs in, and no public address."
  }
  assert {
    condition     = alltrue([for device in aws_launch_template.job.block_device_mappings : device.ebs[0].encrypted == "true" && device.ebs[0].volume_type == "gp3" && device.ebs[0].delete_on_termination == "true"])
    error_message = "Its disk must be encrypted and go with it."
  }
  assert {
    condition     = data.aws_ssm_parameter.image.name == "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
    error_message = "The image must be Amazon Linux 2023 of the architecture."
  }
}

run "the_group" {
  command = plan

  assert {
    condition     = aws_autoscaling_group.job.min_size == 0 && aws_autoscaling_group.job.max_size == 1 && aws_autoscaling_group.job.desired_capacity == 0
    error_message = "There is one instance at most, and none until a job is to be done."
  }
  assert {
    condition     = !aws_autoscaling_group.job.capacity_rebalance && contains(aws_autoscaling_group.job.suspended_processes, "AZRebalance")
    error_message = "No second instance may start before the first has ended: it would end with 76."
  }
  assert {
    condition     = one(aws_autoscaling_group.job.mixed_instances_policy[0].instances_distribution).on_demand_percentage_above_base_capacity == 0 && one(aws_autoscaling_group.job.mixed_instances_policy[0].instances_distribution).spot_allocation_strategy == "price-capacity-optimized"
    error_message = "Spot must be the default, where it is cheap and seldom taken back."
  }
  assert {
    condition     = length(aws_autoscaling_group.job.mixed_instances_policy[0].launch_template[0].override) >= 3
    error_message = "Several types find capacity sooner."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.too_long.evaluation_periods * aws_cloudwatch_metric_alarm.too_long.period == 25 * 3600 && aws_autoscaling_policy.none.adjustment_type == "ExactCapacity" && one(aws_autoscaling_policy.none.step_adjustment).scaling_adjustment == 0
    error_message = "After max_hours the group must not want an instance any more."
  }
}

run "on_demand" {
  command = plan

  variables {
    spot           = false
    architecture   = "x86_64"
    instance_types = ["c7i.xlarge"]
    max_hours      = 167
  }

  assert {
    condition     = one(aws_autoscaling_group.job.mixed_instances_policy[0].instances_distribution).on_demand_percentage_above_base_capacity == 100
    error_message = "spot = false must mean on demand."
  }
  assert {
    condition     = endswith(data.aws_ssm_parameter.image.name, "-x86_64")
    error_message = "The image must be of the architecture."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.too_long.evaluation_periods * aws_cloudwatch_metric_alarm.too_long.period <= 604800
    error_message = "CloudWatch looks back seven days at most."
  }
}

run "a_bucket_of_its_own" {
  command = plan

  assert {
    condition     = aws_s3_bucket.bundle[0].bucket == "csv2kafka-ec2-123456789012-eu-west-1" && aws_s3_bucket_public_access_block.bundle[0].restrict_public_buckets
    error_message = "What instances install must be in a private bucket."
  }
}

run "a_bucket_of_the_users" {
  command = plan

  variables {
    bundle_bucket = "example-bundles"
    bundle_prefix = "tools/csv2kafka/"
  }

  assert {
    condition     = length(aws_s3_bucket.bundle) == 0 && output.bundle == "s3://example-bundles/tools/csv2kafka/bundle-arm64.tar.gz"
    error_message = "bundle_bucket must be used as it is."
  }
}

run "rights" {
  command = plan

  assert {
    condition = alltrue([for statement in data.aws_iam_policy_document.instance.statement :
      alltrue([for action in statement.actions : !strcontains(action, "*")]) && alltrue([for resource in statement.resources : resource != "*"])
    ])
    error_message = "No right may be for everything."
  }
  assert {
    condition     = setunion([for statement in data.aws_iam_policy_document.instance.statement : statement.actions]...) == toset(["s3:GetObject", "logs:CreateLogStream", "logs:PutLogEvents", "autoscaling:SetDesiredCapacity"])
    error_message = "An instance may do this and no more."
  }
}

run "types_of_the_other_architecture" {
  command = plan

  variables {
    instance_types = ["c7g.xlarge", "c7i.xlarge"]
  }

  expect_failures = [var.instance_types]
}

run "graviton_is_no_x86" {
  command = plan

  variables {
    architecture   = "x86_64"
    instance_types = ["g4dn.xlarge", "c6gd.xlarge"]
  }

  expect_failures = [var.instance_types]
}

run "no_such_architecture" {
  command = plan

  variables {
    architecture   = "ARM64"
    instance_types = ["c7g.xlarge"]
  }

  expect_failures = [var.architecture]
}

run "hours_without_an_end" {
  command = plan

  variables {
    max_hours = 168
  }

  expect_failures = [var.max_hours]
}

run "a_prefix_without_its_slash" {
  command = plan

  variables {
    bundle_prefix = "csv2kafka"
  }

  expect_failures = [var.bundle_prefix]
}

run "more_sources_than_user_data_holds" {
  command = plan

  variables {
    sources = [for number in range(800) : "s3://example-exports/orders/${sha256(tostring(number))}.csv"]
  }

  expect_failures = [aws_launch_template.job]
}

run "many_sources" {
  command = plan

  variables {
    sources = [for number in range(1000) : "s3://example-exports/orders/2026-${number}.csv"]
  }
}
