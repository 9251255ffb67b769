# What only this target has; the rest is in common.tf.

variable "image" {
  description = "An image of one's own, with csv2kafka as its entry point. Without it the one that job up builds and pushes."
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("^[^\\s:@]+(:[0-9]+/[^\\s:@]+)?(:[A-Za-z0-9._-]{1,128}|@sha256:[0-9a-f]{64})$", var.image))
    error_message = "image: expected REPOSITORY:TAG or REPOSITORY@sha256:DIGEST; name the tag, as latest is whatever was pushed last."
  }
}

variable "image_tag" {
  description = "The tag in the repository that is made here. job up sets it in image.auto.tfvars."
  type        = string
  default     = "none"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.image_tag))
    error_message = "image_tag: expected up to 128 letters, digits, '.', '_' and '-'; let job up set it."
  }
}

variable "architecture" {
  description = "ARM64 (a fifth cheaper) or X86_64; the image must be of it."
  type        = string
  default     = "ARM64"
  nullable    = false

  validation {
    condition     = contains(["ARM64", "X86_64"], var.architecture)
    error_message = "architecture: expected ARM64 or X86_64; choose what the image was built for."
  }
}

variable "cpu" {
  description = "CPU units; 1024 are one vCPU. From 4096 on all stages of a run have a CPU of their own."
  type        = number
  default     = 4096
  nullable    = false

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.cpu)
    error_message = "cpu: expected what Fargate has: 256, 512, 1024, 2048, 4096, 8192 or 16384; choose one."
  }
}

variable "memory" {
  description = "MiB. The least that goes with cpu is enough: what a run takes does not depend on the file's size."
  type        = number
  default     = 8192
  nullable    = false

  validation {
    condition = contains(lookup({
      256   = [512, 1024, 2048]
      512   = range(1024, 4096 + 1, 1024)
      1024  = range(2048, 8192 + 1, 1024)
      2048  = range(4096, 16384 + 1, 1024)
      4096  = range(8192, 30720 + 1, 1024)
      8192  = range(16384, 61440 + 1, 4096)
      16384 = range(32768, 122880 + 1, 8192)
    }, tostring(var.cpu), []), var.memory)
    error_message = "memory: expected MiB that Fargate has with that cpu (256: 512, 1024, 2048; 512: 1024 to 4096; 1024: 2048 to 8192; 2048: 4096 to 16384; 4096: 8192 to 30720, in steps of 1024; 8192: 16384 to 61440 in steps of 4096; 16384: 32768 to 122880 in steps of 8192); take the least."
  }
}

variable "spot" {
  description = "Fargate Spot: about a third of the price; a task can be taken away with two minutes' notice, and is started again."
  type        = bool
  default     = true
  nullable    = false
}

variable "assign_public_ip" {
  description = "Whether tasks get a public address: needed in public subnets without endpoints, to reach AWS. Nothing may come in either way."
  type        = bool
  default     = false
  nullable    = false
}

variable "max_attempts" {
  description = "How often a job's task is started at most, after Spot stops and exit codes 75, 69, 137 and 143."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.max_attempts >= 1 && var.max_attempts <= 500 && floor(var.max_attempts) == var.max_attempts
    error_message = "max_attempts: expected a whole number from 1 to 500, as an execution's history has an end; 50 is usual."
  }
}

variable "timeout_hours" {
  description = "After how many hours an execution is ended, its wait for its turn included."
  type        = number
  default     = 24
  nullable    = false

  validation {
    condition     = var.timeout_hours >= 1 && var.timeout_hours <= 72 && floor(var.timeout_hours) == var.timeout_hours
    error_message = "timeout_hours: expected a whole number from 1 to 72, as an execution's history has an end; start the job again for more."
  }
}

variable "run_on_upload" {
  description = "Whether each object that is put under source_prefix is loaded, as a job of its own. The bucket must send its events to EventBridge: see enable_bucket_events."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.run_on_upload || !startswith(coalesce(var.after, "none"), "move:s3://${var.source_bucket}/${var.source_prefix}")
    error_message = "run_on_upload: expected another place in after than under source_prefix, as each object that is moved there would be loaded again; move to another prefix."
  }
}

variable "enable_bucket_events" {
  description = "Whether to switch the bucket's events to EventBridge on. It replaces ALL other notifications of that bucket: see the README for how to do it by hand."
  type        = bool
  default     = false
  nullable    = false
}

variable "schedule" {
  description = "When to load sources, each time as a job of its own: cron(0 4 * * ? *), rate(1 day) or at(2026-12-01T04:00:00)."
  type        = string
  default     = null

  validation {
    condition     = var.schedule == null || can(regex("^(cron\\([^()]+\\)|rate\\([0-9]+ (minute|hour|day)s?\\)|at\\([0-9T:-]+\\))$", var.schedule))
    error_message = "schedule: expected cron(…), rate(…) or at(…) as EventBridge Scheduler has them; change it, or leave it out."
  }

  validation {
    condition     = var.schedule == null || length(var.sources) > 0
    error_message = "schedule: expected sources, as a scheduled job loads those; set them, or leave schedule out."
  }
}

variable "schedule_timezone" {
  description = "The time zone that schedule is in."
  type        = string
  default     = "UTC"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z_]+(/[A-Za-z0-9_+-]+)*$", var.schedule_timezone))
    error_message = "schedule_timezone: expected a name such as UTC or Europe/Berlin; take one from the IANA list."
  }
}
