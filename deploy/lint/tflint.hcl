# The rules for Terraform's own language; those for AWS are a plugin that only GitHub has, and nothing is downloaded here.
plugin "terraform" {
  enabled = true
  preset  = "all"
}

# main.tf, variables.tf and outputs.tf are there, but a target's resources stand in files named by what they are.
rule "terraform_standard_module_structure" {
  enabled = false
}
