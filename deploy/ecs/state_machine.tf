# The state machine: what to load, its turn, the task again and again until the job is done, the turn back, the end.
# Expressions are JSONata. README.md draws it and says what its limits are.

locals {
  state_machine = "${local.arn}:states:${local.here}:stateMachine:${local.prefix}"
  turns         = "${local.prefix}-turns"

  # What may be written to by one job at a time.
  turn = { S = "${var.bootstrap_servers}/${coalesce(var.topic, "none")}/${var.partition}" }

  # A task that a vanished execution left behind is stopped by then: ECS kills it after the stop time-out.
  left_behind = local.stop_timeout + 30

  again = [69, 75, 137, 143] # docs/errors.md: not reachable, stopped; and SIGKILL, SIGTERM
  advice = {
    "1"  = "A bug, or a result that could not be written. See the log."
    "2"  = "Configuration, or a right that is missing: the log says what to change. Nothing was written."
    "65" = "The data: a bad row, or an object that was changed. The log says where. What comes before it is committed."
    "70" = "Kafka, checkpoint and store contradict each other: the log says how. A person decides."
    "76" = "Another run has taken this job over and does the work: do not start it again."
  }
  # Of the call that starts a task: what further tries do not change. Three, as ECS says the second also where it was
  # slowed down in looking at the network, and a role that has just been made is not known everywhere.
  for_good       = ["ECS.AccessDeniedException", "ECS.InvalidParameterException", "ECS.ClusterNotFoundException", "States.QueryEvaluationError"]
  tries_of_those = 3

  taken = ["DynamoDB.ConditionalCheckFailedException", "DynamoDb.ConditionalCheckFailedException"]
  gone  = ["Sfn.ExecutionDoesNotExistException", "SFN.ExecutionDoesNotExistException"]

  patience = { ErrorEquals = ["States.ALL"], IntervalSeconds = 2, BackoffRate = 2, MaxDelaySeconds = 60, MaxAttempts = 8, JitterStrategy = "FULL" }
  never    = { MaxAttempts = 0 }

  # Whatever else breaks gives the turn back too.
  unexpected = {
    ErrorEquals = ["States.ALL"]
    Assign = {
      failure = "{% $exists($states.errorOutput.Error) ? $states.errorOutput.Error : 'Unknown' %}"
      reason  = "{% $exists($states.errorOutput.Cause) ? $states.errorOutput.Cause : 'Nothing was said of why.' %}"
    }
    Next = "Give the turn back"
  }

  lines  = "/\\s*\\n\\s*/"                                                               # expressions go into one line, as some tools expect them
  quoted = "function($source) { \"'\" & $replace($source, \"'\", \"'\\\\''\") & \"'\" }" # as a shell, and csv2kafka, reads it
  begin  = { attempt = 0, asked = 0, failure = "none", reason = "none" }
}

resource "aws_dynamodb_table" "turns" {
  #checkov:skip=CKV_AWS_119:AWS's own key encrypts it unless customer_managed_key is set; it holds one execution's name
  name         = local.turns
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "turn"
  tags         = local.tags

  attribute {
    name = "turn"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = var.customer_managed_key
    kms_key_arn = module.common.kms_key_arn
  }
}

resource "aws_sfn_state_machine" "job" {
  #checkov:skip=CKV_AWS_284:X-Ray would show one task's waiting
  #checkov:skip=CKV_AWS_285:Step Functions keeps each execution's history for 90 days; the job's own log is CloudWatch's
  name     = local.prefix
  type     = "STANDARD"
  role_arn = aws_iam_role.state_machine.arn
  tags     = local.tags

  definition = jsonencode({
    Comment        = "csv2kafka: one job at a time for ${local.turn.S}, started again until it is done."
    QueryLanguage  = "JSONata"
    TimeoutSeconds = var.timeout_hours * 3600
    StartAt        = "What started it"
    States         = merge(local.naming, local.waiting, local.running)
  })

  depends_on = [aws_iam_role_policy.state_machine]
}

locals {
  # --- What to load, and what the job is called: $environment is what the task is told besides the definition's ---
  naming = {
    "What started it" = {
      Type = "Choice"
      Choices = [
        {
          Comment   = "As in a prefix: no folder markers, and no names that begin with . or _"
          Condition = "{% $exists($states.input.detail.object.key) and $contains($states.input.detail.object.key, /(^|\\/)([._][^\\/]*)?$/) %}"
          Next      = "Nothing to load"
        },
        { Condition = "{% $exists($states.input.detail.object.key) %}", Next = "An upload" },
        { Condition = "{% $exists($states.input.scheduled) %}", Next = "A schedule" },
      ]
      Default = "Somebody"
    }

    "Nothing to load" = { Type = "Succeed" }

    # The job is named after the very version, and loads that version or fails: two uploads of a key are two jobs, and
    # the same event delivered twice is one.
    "An upload" = {
      Type = "Pass"
      Assign = merge(local.begin, {
        environment = trimspace(replace(<<-EOT
          {% (
            $bucket := $states.input.detail.bucket.name;
            $object := $states.input.detail.object;
            $version := $object.`version-id`;
            $versioned := $exists($version) and $version != "" and $version != "null";
            $exact := $versioned ? $version : $object.etag;
            $place := $bucket & "/" & $object.key;
            $quoted := ${local.quoted};
            [
              {"Name": "CSV2KAFKA_SOURCES", "Value": $quoted("s3://" & $place)},
              {"Name": $versioned ? "CSV2KAFKA_S3_VERSION_ID" : "CSV2KAFKA_S3_IF_MATCH", "Value": $exact},
              {"Name": "CSV2KAFKA_JOB", "Value": $substring($replace($place, /[^A-Za-z0-9._-]+/, "-"), 0, 100)
                & "-" & $substring($hash($place & "/" & $exact, "SHA-256"), 0, 16)}
            ]
          ) %}
        EOT
        , local.lines, " "))
      })
      Next = "Take the turn"
    }

    "A schedule" = {
      Type = "Pass"
      Assign = merge(local.begin, {
        environment = trimspace(replace(<<-EOT
          {% [{"Name": "CSV2KAFKA_JOB", "Value": "${substr(coalesce(var.job, local.prefix), 0, 150)}-"
            & $replace($states.input.scheduled, /[^A-Za-z0-9._-]+/, "-")}] %}
        EOT
        , local.lines, " "))
      })
      Next = "Take the turn"
    }

    # {"job": NAME, "sources": [s3://…]}, both optional.
    "Somebody" = {
      Type = "Pass"
      Assign = merge(local.begin, {
        environment = trimspace(replace(<<-EOT
          {% (
            $sources := $states.input.sources;
            $quoted := ${local.quoted};
            [
              $exists($sources) ? {"Name": "CSV2KAFKA_SOURCES", "Value": $join($map($sources, $quoted), " ")},
              $exists($states.input.job) ? {"Name": "CSV2KAFKA_JOB", "Value": $states.input.job}
            ]
          ) %}
        EOT
        , local.lines, " "))
      })
      Next = "Take the turn"
    }
  }

  # --- Its turn: the item of the partition, written on the condition that nobody has it ---
  waiting = {
    "Take the turn" = {
      Type     = "Task"
      Resource = "${local.arn}:states:::dynamodb:putItem"
      Arguments = {
        TableName                 = local.turns
        Item                      = { turn = local.turn, holder = { S = "{% $states.context.Execution.Id %}" }, since = { S = "{% $states.context.State.EnteredTime %}" } }
        ConditionExpression       = "attribute_not_exists(turn) OR holder = :me" # ours: an answer that was lost
        ExpressionAttributeValues = { ":me" = { S = "{% $states.context.Execution.Id %}" } }
      }
      Retry = [merge(local.never, { ErrorEquals = local.taken }), local.patience]
      Catch = [{ ErrorEquals = local.taken, Next = "Who has it" }, local.unexpected]
      Next  = "Run"
    }

    "Who has it" = {
      Type      = "Task"
      Resource  = "${local.arn}:states:::dynamodb:getItem"
      Arguments = { TableName = local.turns, Key = { turn = local.turn }, ConsistentRead = true }
      Assign    = { holder = "{% $exists($states.result.Item.holder.S) ? $states.result.Item.holder.S : '' %}", asked = "{% $asked + 1 %}" }
      Retry     = [local.patience]
      Catch     = [local.unexpected]
      Next      = "Has anybody"
    }

    "Has anybody" = {
      Type    = "Choice"
      Choices = [{ Condition = "{% $holder = '' %}", Next = "Take the turn" }]
      Default = "Does it run"
    }

    "Does it run" = {
      Type      = "Task"
      Resource  = "${local.arn}:states:::aws-sdk:sfn:describeExecution"
      Arguments = { ExecutionArn = "{% $holder %}", IncludedData = "METADATA_ONLY" }
      Assign    = { runs = "{% $states.result.Status in ['RUNNING', 'PENDING_REDRIVE'] %}" }
      Retry     = [merge(local.never, { ErrorEquals = local.gone }), local.patience]
      Catch     = [{ ErrorEquals = local.gone, Assign = { runs = false }, Next = "Let its task end" }, local.unexpected]
      Next      = "Is it over"
    }

    "Is it over" = {
      Type    = "Choice"
      Choices = [{ Condition = "{% $runs %}", Next = "Wait for the turn" }]
      Default = "Let its task end"
    }

    # Half a minute at first, five minutes after the first ten: the history has room for 25,000 events.
    "Wait for the turn" = {
      Type    = "Wait"
      Seconds = "{% $asked <= 20 ? 30 : 300 %}"
      Next    = "Take the turn"
    }

    "Let its task end" = {
      Type    = "Wait"
      Seconds = local.left_behind
      Next    = "Take it over"
    }

    "Take it over" = {
      Type     = "Task"
      Resource = "${local.arn}:states:::dynamodb:putItem"
      Arguments = {
        TableName                 = local.turns
        Item                      = { turn = local.turn, holder = { S = "{% $states.context.Execution.Id %}" }, since = { S = "{% $states.context.State.EnteredTime %}" } }
        ConditionExpression       = "holder = :gone OR holder = :me"
        ExpressionAttributeValues = { ":gone" = { S = "{% $holder %}" }, ":me" = { S = "{% $states.context.Execution.Id %}" } }
      }
      Retry = [merge(local.never, { ErrorEquals = local.taken }), local.patience]
      Catch = [{ ErrorEquals = local.taken, Next = "Take the turn" }, local.unexpected]
      Next  = "Run"
    }
  }

  # --- The task, until it ends with something that no further run changes ---
  running = {
    "Run" = {
      Type     = "Task"
      Resource = "${local.arn}:states:::ecs:runTask.sync"
      Arguments = {
        Cluster                  = local.cluster
        TaskDefinition           = local.prefix # the newest revision
        CapacityProviderStrategy = [{ CapacityProvider = var.spot ? "FARGATE_SPOT" : "FARGATE", Weight = 1 }]
        PlatformVersion          = "LATEST"
        NetworkConfiguration = {
          AwsvpcConfiguration = {
            Subnets        = var.subnet_ids
            SecurityGroups = [module.common.security_group_id]
            AssignPublicIp = var.assign_public_ip ? "ENABLED" : "DISABLED"
          }
        }
        Overrides = { ContainerOverrides = [{ Name = local.container, Environment = "{% $environment %}" }] }
      }
      Assign = {
        attempt = "{% $attempt + 1 %}"
        exit    = "{% $exists($states.result.Containers[0].ExitCode) ? $states.result.Containers[0].ExitCode : -1 %}"
        failure = "none"
        reason  = "The task ended without an exit code."
      }
      # The cause is the task as JSON, or a sentence, or cut short: the exit code is found in it as text. -1: none, as of
      # a task that never started or whose machine was taken.
      Catch = [{
        ErrorEquals = ["States.ALL"]
        Assign = {
          attempt = "{% $attempt + 1 %}"
          exit    = "{% ( $found := $match($string($states.errorOutput.Cause), /\"ExitCode\"\\s*:\\s*(-?[0-9]+)/)[0].groups[0]; $exists($found) ? $number($found) : -1 ) %}"
          failure = "{% $exists($states.errorOutput.Error) ? $states.errorOutput.Error : 'Unknown' %}"
          reason  = "{% $exists($states.errorOutput.Cause) ? $substring($string($states.errorOutput.Cause), 0, 4000) : 'Nothing was said of why.' %}"
        }
        Next = "Is it done"
      }]
      Next = "Is it done"
    }

    "Is it done" = {
      Type = "Choice"
      Choices = [
        { Condition = "{% $exit = 0 %}", Assign = { failure = "none", reason = "none" }, Next = "Give the turn back" },
        {
          Condition = "{% $exit = -1 and $failure in ${jsonencode(local.for_good)} and $attempt >= ${local.tries_of_those} %}"
          Next      = "Give the turn back"
        },
        {
          Condition = "{% ($exit = -1 or $exit in ${jsonencode(local.again)}) and $attempt < ${var.max_attempts} %}"
          Next      = "Wait before the next run"
        },
        {
          Condition = "{% $exit = -1 or $exit in ${jsonencode(local.again)} %}"
          Assign = {
            failure = "Csv2kafka.TooManyAttempts"
            reason  = "{% 'Started ' & $string($attempt) & ' times, and not done. What is committed stays; see why it stops (./job logs), then start the job again. The last time' & ($exit = -1 ? '' : ' (exit code ' & $string($exit) & ')') & ': ' & $reason %}"
          }
          Next = "Give the turn back"
        },
      ]
      Default = "Stopped for good"
    }

    "Stopped for good" = {
      Type = "Pass"
      Assign = {
        failure = "{% 'Csv2kafka.ExitCode' & $string($exit) %}"
        reason  = "{% ( $advice := $lookup(${jsonencode(local.advice)}, $string($exit)); 'Exit code ' & $string($exit) & '. ' & ($exists($advice) ? $advice : 'See the log.') & ' ./job logs shows it, docs/errors.md lists the codes.' ) %}"
      }
      Next = "Give the turn back"
    }

    # 5 to 10 s, then twice as long each time, 300 s at most; not all at once, where several lost their machines.
    "Wait before the next run" = {
      Type    = "Wait"
      Seconds = "{% $floor($min([300, 10 * $power(2, $min([$attempt - 1, 10]))]) * (0.5 + $random() / 2)) %}"
      Next    = "Run"
    }

    "Give the turn back" = {
      Type     = "Task"
      Resource = "${local.arn}:states:::dynamodb:deleteItem"
      Arguments = {
        TableName                 = local.turns
        Key                       = { turn = local.turn }
        ConditionExpression       = "holder = :me"
        ExpressionAttributeValues = { ":me" = { S = "{% $states.context.Execution.Id %}" } }
      }
      Retry = [merge(local.never, { ErrorEquals = local.taken }), local.patience]
      Catch = [{ ErrorEquals = ["States.ALL"], Next = "How it ended" }] # not ours, or not now: the next one takes it over
      Next  = "How it ended"
    }

    "How it ended" = {
      Type    = "Choice"
      Choices = [{ Condition = "{% $failure = 'none' %}", Next = "Done" }]
      Default = "Failed"
    }

    "Done" = { Type = "Succeed", Output = { environment = "{% $environment %}", attempts = "{% $attempt %}" } }

    "Failed" = { Type = "Fail", Error = "{% $failure %}", Cause = "{% $reason %}" }
  }
}
