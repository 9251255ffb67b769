# What the three targets stand on. Nothing is made and no account is asked: terraform test, in this folder.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "testing"
  secret_key                  = "testing"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = data.aws_region.current
  values = { region = "eu-west-1" }
}

variables {
  target                  = "ecs"
  source_bucket           = "example-exports"
  source_prefix           = "orders/"
  sources                 = ["s3://example-exports/orders/it's 1.csv", "s3://example-exports/orders/2.csv"]
  topic                   = "orders"
  bootstrap_servers       = "b-1.example.abc123.c2.kafka.eu-west-1.amazonaws.com:9098"
  msk_cluster_arn         = "arn:aws:kafka:eu-west-1:123456789012:cluster/csv2kafka-example/a1b2c3d4-5678-90ab-cdef-11111example-2"
  kafka_security_group_id = "sg-0123456789abcdef0"
  vpc_id                  = "vpc-0123456789abcdef0"
  subnet_ids              = ["subnet-0123456789abcdef0"]
}

run "the_table_is_what_csv2kafka_init_makes" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.checkpoints.hash_key == "job" && aws_dynamodb_table.checkpoints.range_key == null && one(aws_dynamodb_table.checkpoints.attribute).type == "S"
    error_message = "The table needs the partition key job (S) alone."
  }
  assert {
    condition     = aws_dynamodb_table.checkpoints.billing_mode == "PAY_PER_REQUEST" && aws_dynamodb_table.checkpoints.ttl[0].enabled && aws_dynamodb_table.checkpoints.ttl[0].attribute_name == "expires_at"
    error_message = "On demand, and its TTL on expires_at."
  }
  assert {
    condition     = aws_dynamodb_table.checkpoints.point_in_time_recovery[0].enabled
    error_message = "It can be taken back to an earlier minute."
  }
}

run "the_environment_is_what_csv2kafka_reads" {
  command = plan

  assert {
    condition     = output.environment["CSV2KAFKA_SOURCES"] == "'s3://example-exports/orders/it'\\''s 1.csv' 's3://example-exports/orders/2.csv'"
    error_message = "Sources are quoted as a shell reads them, found ${output.environment["CSV2KAFKA_SOURCES"]}."
  }
  assert {
    condition = { for name in ["PROGRESS", "METRICS", "GIVE_UP_AFTER", "CHECKPOINTS", "PARTITION", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM"] : name => output.environment["CSV2KAFKA_${name}"] } == {
      PROGRESS                = "json"
      METRICS                 = "emf"
      GIVE_UP_AFTER           = "10m"
      CHECKPOINTS             = "dynamodb://csv2kafka-ecs"
      PARTITION               = "0"
      KAFKA_SECURITY_PROTOCOL = "SASL_SSL"
      KAFKA_SASL_MECHANISM    = "AWS_MSK_IAM"
    }
    error_message = "The alarms read JSON lines, and a cluster that is away ends the run with 69."
  }
  assert {
    condition     = length(setintersection(keys(output.environment), ["CSV2KAFKA_JOB", "CSV2KAFKA_AFTER", "CSV2KAFKA_DEAD_LETTER_TOPIC", "CSV2KAFKA_ON_BAD_ROW"])) == 0
    error_message = "What was not set is not there: an empty variable would say something else."
  }
}

run "sources_may_come_with_each_start" {
  command = plan

  variables {
    sources           = []
    dead_letter_topic = "orders-bad"
    environment       = { CSV2KAFKA_GIVE_UP_AFTER = "1h", CSV2KAFKA_KEY = "id" }
  }

  assert {
    condition     = !contains(keys(output.environment), "CSV2KAFKA_SOURCES")
    error_message = "No sources, no variable."
  }
  assert {
    condition     = output.environment["CSV2KAFKA_ON_BAD_ROW"] == "dead-letter" && output.environment["CSV2KAFKA_GIVE_UP_AFTER"] == "1h" && output.environment["CSV2KAFKA_KEY"] == "id"
    error_message = "A dead-letter topic is used, and the user's variables count."
  }
}

run "the_job_may_do_what_it_does" {
  command = plan

  variables {
    completion_topic = "done"
    secret_arns      = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:AmazonMSK_x-AbCdEf", "arn:aws:ssm:eu-west-1:123456789012:parameter/prod/x"]
    kms_key_arns     = ["arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"]
  }

  assert {
    condition     = alltrue([for statement in local.statements : alltrue([for action in statement.actions : !strcontains(action, "*")])])
    error_message = "No wildcard in an action."
  }
  assert {
    condition     = alltrue(flatten([for statement in local.statements : [for resource in statement.resources : resource != "*" && startswith(resource, "arn:aws:")]]))
    error_message = "No resource is all resources."
  }
  assert {
    condition = jsonencode({ for statement in local.statements : statement.sid => statement.resources }) == jsonencode({
      ReadExports     = ["arn:aws:s3:::example-exports/orders/*"]
      ListExports     = ["arn:aws:s3:::example-exports"]
      KeepCheckpoints = ["arn:aws:dynamodb:eu-west-1:123456789012:table/csv2kafka-ecs"]
      Connect         = [var.msk_cluster_arn]
      WriteAndReadBack = [
        "arn:aws:kafka:eu-west-1:123456789012:topic/csv2kafka-example/a1b2c3d4-5678-90ab-cdef-11111example-2/orders",
        "arn:aws:kafka:eu-west-1:123456789012:topic/csv2kafka-example/a1b2c3d4-5678-90ab-cdef-11111example-2/csv2kafka-checkpoints",
      ]
      CreateTopics = ["arn:aws:kafka:eu-west-1:123456789012:topic/csv2kafka-example/a1b2c3d4-5678-90ab-cdef-11111example-2/csv2kafka-checkpoints"]
      OwnTheJob = [
        "arn:aws:kafka:eu-west-1:123456789012:transactional-id/csv2kafka-example/a1b2c3d4-5678-90ab-cdef-11111example-2/csv2kafka.*",
        "arn:aws:kafka:eu-west-1:123456789012:transactional-id/csv2kafka-example/a1b2c3d4-5678-90ab-cdef-11111example-2/csv2kafka-check.*",
      ]
      WriteBadRowsAndCompletion = ["arn:aws:kafka:eu-west-1:123456789012:topic/csv2kafka-example/a1b2c3d4-5678-90ab-cdef-11111example-2/done"]
      ReadSecrets               = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:AmazonMSK_x-AbCdEf"]
      ReadParameters            = ["arn:aws:ssm:eu-west-1:123456789012:parameter/prod/x"]
      DecryptExportsAndSecrets  = ["arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"]
    })
    error_message = "One bucket and prefix, one table, one cluster, its topics and its transactional ids, named secrets and keys."
  }
}

run "no_more_rights_than_are_needed" {
  command = plan

  variables {
    authentication    = "none"
    bootstrap_servers = "b-1.example.abc123.c2.kafka.eu-west-1.amazonaws.com:9092"
    msk_cluster_arn   = null
  }

  assert {
    condition     = toset([for statement in local.statements : statement.sid]) == toset(["ReadExports", "ListExports", "KeepCheckpoints"])
    error_message = "Without IAM in Kafka, secrets and --after there are three statements."
  }
}

run "after_move_gives_its_rights" {
  command = plan

  variables {
    after = "move:s3://example-archive/loaded/"
  }

  assert {
    condition     = [for statement in local.statements : statement.resources if statement.sid == "KeepLoadedExports"] == [["arn:aws:s3:::example-archive/loaded/*"]]
    error_message = "Objects are put under the prefix that they are moved to, and nowhere else."
  }
  assert {
    condition     = [for statement in local.statements : statement.resources if contains(statement.actions, "s3:DeleteObject")] == [["arn:aws:s3:::example-exports/orders/*"]]
    error_message = "Only the sources may be deleted."
  }
}

run "out_to_one_port_and_to_aws_and_nothing_in" {
  command = plan

  assert {
    condition     = aws_vpc_security_group_egress_rule.kafka_group[0].from_port == 9098 && aws_vpc_security_group_egress_rule.kafka_group[0].to_port == 9098 && aws_vpc_security_group_egress_rule.kafka_group[0].referenced_security_group_id == "sg-0123456789abcdef0"
    error_message = "The brokers' one port."
  }
  assert {
    condition     = aws_vpc_security_group_egress_rule.aws[0].from_port == 443 && aws_vpc_security_group_egress_rule.aws[0].to_port == 443
    error_message = "AWS on 443."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.brokers[0].security_group_id == "sg-0123456789abcdef0" && length(aws_vpc_security_group_ingress_rule.endpoints) == 0
    error_message = "The only way in is into the brokers' group."
  }
  assert {
    condition     = length(aws_vpc_endpoint.gateway) == 0 && length(aws_vpc_endpoint.interface) == 0
    error_message = "No endpoints unless asked for."
  }
}

run "the_port_of_each_login" {
  command = plan

  variables {
    authentication       = "scram"
    bootstrap_servers    = "ssm:///prod/kafka/servers"
    msk_cluster_arn      = null
    manage_kafka_ingress = false
    kafka_cidr_blocks    = ["10.0.0.0/16"]
    secret_arns          = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:AmazonMSK_x-AbCdEf", "arn:aws:ssm:eu-west-1:123456789012:parameter/prod/kafka/servers"]
    environment = {
      CSV2KAFKA_KAFKA_SASL_PLAIN_USERNAME = "secretsmanager://AmazonMSK_x#username"
      CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD = "secretsmanager://AmazonMSK_x#password"
    }
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.kafka_cidr["10.0.0.0/16"].from_port == 9096
    error_message = "SCRAM's port is 9096."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.brokers) == 0
    error_message = "Somebody else lets the job in."
  }
}

run "with_endpoints_nothing_leaves_the_vpc" {
  command = plan

  override_data {
    target = data.aws_vpc.endpoints
    values = { cidr_block = "10.0.0.0/16" }
  }

  variables {
    vpc_endpoints       = "all"
    route_table_ids     = ["rtb-0123456789abcdef0"]
    interface_endpoints = ["ecr.api", "ecr.dkr"]
    secret_arns         = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:AmazonMSK_x-AbCdEf"]
  }

  assert {
    condition     = length(aws_vpc_security_group_egress_rule.aws) == 0 && length(aws_vpc_security_group_egress_rule.kafka_cidr) == 0
    error_message = "No rule with an address range is left."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.endpoints[0].cidr_ipv4 == "10.0.0.0/16"
    error_message = "Others in the VPC, who get these endpoints by AWS's names now, may use them."
  }
  assert {
    condition     = keys(aws_vpc_endpoint.interface) == ["ecr.api", "ecr.dkr", "logs", "secretsmanager"] && keys(aws_vpc_endpoint.gateway) == ["dynamodb", "s3"]
    error_message = "What the job reaches has an endpoint, and nothing else costs by the hour."
  }
}

run "alarms" {
  command = plan

  variables {
    alarm_email         = "data@example.com"
    no_progress_minutes = 15
  }

  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.job) == ["bad-rows", "job-failed", "lease-in-danger", "lease-lost", "no-progress", "out-of-reach"]
    error_message = "Six alarms."
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.job : alarm.treat_missing_data == "notBreaching" && alarm.period == 60])
    error_message = "Where nothing runs nothing is wrong."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.job["no-progress"].evaluation_periods == 15 && aws_cloudwatch_metric_alarm.job["no-progress"].datapoints_to_alarm == 15 && aws_cloudwatch_metric_alarm.job["no-progress"].comparison_operator == "LessThanOrEqualToThreshold"
    error_message = "Each of the minutes is without a row."
  }
  assert {
    condition     = alltrue([for code in [1, 2, 65, 70, 76] : strcontains(aws_cloudwatch_log_metric_filter.ends["Failures"].pattern, "$.exit_code = ${code}")]) && !strcontains(aws_cloudwatch_log_metric_filter.ends["Failures"].pattern, "75")
    error_message = "What is started again by itself is no failure."
  }
  assert {
    condition     = aws_sns_topic_subscription.email[0].endpoint == "data@example.com"
    error_message = "They are sent by e-mail."
  }
}

run "a_key_of_ones_own" {
  command = plan

  variables {
    customer_managed_key = true
    repository           = true
  }

  assert {
    condition     = aws_kms_key.own[0].enable_key_rotation && aws_dynamodb_table.checkpoints.server_side_encryption[0].enabled && aws_ecr_repository.image[0].encryption_configuration[0].encryption_type == "KMS"
    error_message = "Table and images are under it, and it is rotated."
  }
  assert {
    condition     = aws_ecr_repository.image[0].image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.image[0].image_scanning_configuration[0].scan_on_push
    error_message = "A tag is one image for good, and images are scanned."
  }
}

# --- Refused, each for its own variable ---

run "wrong_names" {
  command = plan

  variables {
    name          = "No"
    source_bucket = "s3://example-exports"
    source_prefix = "orders"
    topic         = "not a topic"
    job           = "a/b"
    after         = "move:s3://example-archive/loaded"
    partition     = -1
  }

  expect_failures = [var.name, var.source_bucket, var.source_prefix, var.topic, var.job, var.after, var.partition]
}

run "what_the_job_may_not_read" {
  command = plan

  variables {
    sources           = ["s3://example-exports/customers/2026.csv"]
    dead_letter_topic = "orders"
    completion_topic  = "not a topic"
    more_topics       = ["ok", "not ok"]
  }

  expect_failures = [var.sources, var.dead_letter_topic, var.completion_topic, var.more_topics]
}

run "wrong_network" {
  command = plan

  variables {
    vpc_id                  = "subnet-0123456789abcdef0"
    subnet_ids              = []
    kafka_security_group_id = null
    kafka_cidr_blocks       = []
    vpc_endpoints           = "gateway"
  }

  expect_failures = [var.vpc_id, var.subnet_ids, var.kafka_security_group_id, var.route_table_ids]
}

run "the_whole_internet_is_no_cluster" {
  command = plan

  variables {
    kafka_cidr_blocks = ["0.0.0.0/0"]
  }

  expect_failures = [var.kafka_cidr_blocks]
}

run "iam_without_a_cluster" {
  command = plan

  variables {
    msk_cluster_arn = null
  }

  expect_failures = [var.msk_cluster_arn]
}

run "the_servers_of_another_login" {
  command = plan

  variables {
    bootstrap_servers = "b-1.example.abc123.c2.kafka.eu-west-1.amazonaws.com:9096"
  }

  expect_failures = [var.bootstrap_servers]
}

run "two_ports" {
  command = plan

  variables {
    bootstrap_servers = "b-1.example.com:9098,b-2.example.com:19098"
  }

  expect_failures = [var.bootstrap_servers]
}

run "scram_without_a_password" {
  command = plan

  variables {
    authentication    = "scram"
    bootstrap_servers = "b-1.example.com:9096"
  }

  expect_failures = [var.authentication]
}

run "a_password_in_plain_text" {
  command = plan

  variables {
    environment = { CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD = "hunter22" }
  }

  expect_failures = [var.environment]
}

run "what_is_set_elsewhere" {
  command = plan

  variables {
    environment = { CSV2KAFKA_RESTART = "true" }
  }

  expect_failures = [var.environment]
}

run "an_alias_is_no_key" {
  command = plan

  variables {
    kms_key_arns       = ["arn:aws:kms:eu-west-1:123456789012:alias/exports"]
    secret_arns        = ["AmazonMSK_x"]
    log_retention_days = 31
    alarm_email        = "nobody"
  }

  expect_failures = [var.kms_key_arns, var.secret_arns, var.log_retention_days, var.alarm_email]
}
