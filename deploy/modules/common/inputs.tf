# What a target tells the module; no user sets these.

variable "target" {
  description = "ecs, batch or ec2."
  type        = string

  validation {
    condition     = contains(["ecs", "batch", "ec2"], var.target)
    error_message = "target: expected ecs, batch or ec2; a target's main.tf sets it."
  }
}

variable "repository" {
  description = "Whether to make an ECR repository for the image."
  type        = bool
  default     = false
}

variable "interface_endpoints" {
  description = "Services besides logs that the target reaches, for vpc_endpoints = \"all\": ecr.api and so on."
  type        = list(string)
  default     = []
}
