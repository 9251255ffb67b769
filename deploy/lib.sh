# shellcheck shell=bash
# What the `job` scripts of the three targets share. A script sets `here` (its own folder) and `usage`, sources this, and
# calls `start "$@"`, which reads the options common to all and calls do_VERB with the rest.
#
# It runs on bash 3.2, as macOS has it.

: "${here:?a job script sets it}" "${usage:?a job script sets it}"
terraform=${TERRAFORM:-terraform}
dry=""        # --dry-run: what would change something is printed and not run
yes=""        # --yes: nothing is asked
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) # the project's

# A sentence to the person, and exit code 2.
fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 2
}

say() {
  printf '%s\n' "$*" >&2
}

# As it would be typed.
quoted() {
  local word line=""
  for word in "$@"; do
    case $word in
      "" | *[!A-Za-z0-9_./:=@%+,-]*) word="'$(printf '%s' "$word" | sed "s/'/'\\\\''/g")'" ;;
    esac
    line="$line$word "
  done
  printf '%s' "${line% }"
}

# Runs a command that changes something, or prints it under --dry-run.
change() {
  if [ -n "$dry" ] && [ "$1" = tf ]; then
    shift
    printf '%s\n' "$(quoted "$terraform" "-chdir=$here" "$@")"
  elif [ -n "$dry" ]; then
    printf '%s\n' "$(quoted "$@")"
  else
    "$@"
  fi
}

# need TOOL WHY
need() {
  command -v "$1" >/dev/null 2>&1 || fail "$1 is not installed, and $2 needs it: install it, or put it on the PATH."
}

# Half-configured folders go no further than this.
require_tfvars() {
  local file="$here/terraform.tfvars" found
  [ -f "$file" ] || fail "there is no $file: copy terraform.tfvars.example to terraform.tfvars and set your values in it."
  found=$(sed -e 's/^[[:space:]]*#.*//' "$file" |
    grep -nE 'example-exports|[.]example[.]|csv2kafka-example|11111example|@example[.]com|123456789012|0123456789abcdef|fedcba9876543210' | head -n 1) || true
  [ -z "$found" ] || fail "terraform.tfvars still has the example's value in line $found: set your own."
}

# What the variables' own rules refuse is told before AWS is asked for anything, and under --dry-run too: a plan of the
# variables alone needs no provider, no account and no network. What only resources know is left to the plan of `up`.
require_values() {
  local place file said
  place=$(mktemp -d "${TMPDIR:-/tmp}/csv2kafka-variables.XXXXXX")
  for file in "$here"/common.tf "$here"/variables.tf "$here"/*.tfvars "$here"/*.tfvars.json; do
    [ ! -f "$file" ] || cp "$file" "$place"
  done
  if said=$(unset TF_DATA_DIR TF_WORKSPACE && "$terraform" -chdir="$place" plan -input=false -no-color -lock=false 2>&1); then
    rm -rf "$place"
  else
    rm -rf "$place"
    say "$said"
    fail "Terraform refuses these values: mend terraform.tfvars as it says above; nothing was changed."
  fi
}

require_credentials() {
  need aws "this script"
  aws sts get-caller-identity --output text --query Account >/dev/null 2>&1 ||
    fail "AWS does not accept the credentials that were found (aws sts get-caller-identity): log in, or set AWS_PROFILE, and AWS_REGION."
}

tf() {
  "$terraform" -chdir="$here" "$@"
}

# The value of one of the target's outputs. Empty where it is null.
output() {
  local value
  value=$(tf output -raw "$1" 2>/dev/null) || value=""
  printf '%s' "$value"
}

# The same, where there is no going on without it.
required_output() {
  local value
  value=$(output "$1")
  case $value in
    "" | *"No outputs found"*) fail "Terraform knows of nothing that was made here: run ./job up first." ;;
  esac
  printf '%s' "$value"
}

# What is asked of AWS goes to the region where things were made.
use_region() {
  AWS_REGION=$(required_output region) || exit $?
  AWS_DEFAULT_REGION=$AWS_REGION
  export AWS_REGION AWS_DEFAULT_REGION
}

# confirm QUESTION: no is the answer of those who are not there.
confirm() {
  local answer=""
  if [ -n "$yes" ] || [ -n "$dry" ]; then return 0; fi
  printf '%s [y/N] ' "$*" >&2
  read -r answer || true
  case $answer in
    y | Y | yes | Yes) return 0 ;;
    *) fail "nothing was changed." ;;
  esac
}

# init and apply; further words go to apply (-var …).
apply() {
  change tf init -input=false
  if [ -n "$yes" ]; then
    change tf apply -input=false -auto-approve "$@"
  else
    change tf apply "$@" # shows the plan and asks
  fi
}

apply_all() {
  apply -compact-warnings
}

# destroy, after a question of the script's own.
destroy() {
  change tf init -input=false
  change tf destroy -input=false -auto-approve
}

# A value as JSON has it.
json_string() {
  local text=$1
  case $text in
    *[[:cntrl:]]*) fail "$(printf %q "$text") has a control character in it: name the object by a prefix or a glob." ;;
  esac
  printf '"%s"' "$(printf '%s' "$text" | sed 's/[\\"]/\\&/g')"
}

# What the image is called: the version, and what was changed since. The same files have the same tag.
image_tag() {
  local version commit changed
  version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/csv2kafka/__init__.py" 2>/dev/null || true)
  if commit=$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null); then
    changed=$(git -C "$root" status --porcelain -- csv2kafka rust deploy/image deploy/wheel pyproject.toml setup.py .dockerignore)
    if [ -n "$changed" ]; then
      changed=$(cd "$root" && git ls-files -co --exclude-standard -- csv2kafka rust deploy/image deploy/wheel pyproject.toml setup.py .dockerignore |
        while IFS= read -r file; do if [ -f "$file" ]; then printf '%s\n' "$file" && cat "$file"; fi; done | git hash-object --stdin | cut -c 1-12)
      commit="$commit-$changed"
    fi
    printf '%s' "${version:-0}-$commit"
  else
    printf '%s' "${version:-0}"
  fi
}

# push_image REPOSITORY_URL TAG arm64|amd64: builds and pushes, unless the repository has that tag.
push_image() {
  local url=$1 tag=$2 platform=$3 registry
  registry=${url%%/*}
  if [ -z "$dry" ] && aws ecr describe-images --repository-name "${url#*/}" --image-ids "imageTag=$tag" >/dev/null 2>&1; then
    say "The image $url:$tag is there."
    return 0
  fi
  if [ -n "$dry" ]; then
    say "aws ecr get-login-password | docker login --username AWS --password-stdin $registry"
  else
    aws ecr get-login-password | docker login --username AWS --password-stdin "$registry" >/dev/null
  fi
  # Without a provenance beside it each build is one image of the repository, which counts them.
  change docker buildx build --platform "linux/$platform" --provenance=false --file "$root/deploy/image/Dockerfile" \
    --build-arg "VERSION=${tag%%-*}" --build-arg "REVISION=$tag" --tag "$url:$tag" --push "$root"
}

# Whether terraform.tfvars names an image of the user's own.
own_image() {
  [ -n "$(tfvar image)" ]
}

# A value of terraform.tfvars, where it is text on one line.
tfvar() {
  sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*\"\([^\"]*\)\".*/\1/p" "$here/terraform.tfvars" | tail -n 1
}

# The tag stays beside terraform.tfvars, so that a plan by hand sees the same.
set_image_tag() {
  if [ -n "$dry" ]; then
    printf "echo 'image_tag = \"%s\"' > %s\n" "$1" "$(quoted "$here/image.auto.tfvars")"
  else
    printf '# Written by job up.\nimage_tag = "%s"\n' "$1" >"$here/image.auto.tfvars"
  fi
}

# Docker's word for Fargate's.
platform_of() {
  case $1 in
    X86_64 | x86_64 | amd64) printf amd64 ;;
    *) printf arm64 ;;
  esac
}

require_job_name() {
  case $1 in
    *[!A-Za-z0-9._-]*) fail "--job $1: expected letters, digits, '.', '_' and '-': choose such a name." ;;
  esac
  [ ${#1} -le 200 ] || fail "--job: expected at most 200 letters: choose a shorter name."
}

# require_readable SOURCE…: what the job has no right to read is told before it is started.
require_readable() {
  local source readable
  readable=$(required_output readable)
  for source in "$@"; do
    case $source in
      "$readable"*) ;;
      *) fail "$source: the job may read $readable alone: name a source there, or change source_bucket and source_prefix in terraform.tfvars and run ./job up." ;;
    esac
  done
}

# For verbs that take nothing.
no_words() {
  [ $# -eq 0 ] || fail "$1: this verb takes no such word; see $(basename "$0") --help."
}

# show_log GROUP [--follow]: what was said in the last 24 hours, and with --follow what comes.
show_log() {
  local group=$1 follow=""
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      -f | --follow) follow=1 ;;
      *) fail "$1: expected --follow or nothing; see $(basename "$0") --help." ;;
    esac
    shift
  done
  if [ -n "$follow" ]; then
    case $(aws --version 2>&1) in
      aws-cli/1*) fail "--follow needs version 2 of the AWS CLI: install it, or leave --follow out." ;;
    esac
    aws logs tail "$group" --since 24h --format short --follow
  else
    aws logs filter-log-events --log-group-name "$group" --start-time "$((($(date +%s) - 86400) * 1000))" \
      --query 'events[].[message]' --output text
  fi
}

# show_checkpoints TABLE: by csv2kafka where it is installed, else the table's items.
show_checkpoints() {
  if command -v csv2kafka >/dev/null 2>&1; then
    csv2kafka status --checkpoints "dynamodb://$1"
  else
    aws dynamodb scan --table-name "$1" --filter-expression 'attribute_exists(epoch)' \
      --query 'Items[].[job.S, heartbeat.S, owner.S]' --output table
  fi
}

# Reads VERB and the options that all scripts have (--help, --dry-run, --yes), and calls do_VERB with the rest.
start() {
  local verb=${1:-} word
  case $verb in
    "" | -h | --help | help)
      printf '%s\n' "$usage"
      [ -n "$verb" ] || exit 2
      exit 0
      ;;
    up | run | status | logs | down) shift ;;
    *) fail "$verb is none of up, run, status, logs and down: see $(basename "$0") --help." ;;
  esac
  local rest=()
  while [ $# -gt 0 ]; do
    word=$1
    shift
    case $word in
      -h | --help)
        printf '%s\n' "$usage"
        exit 0
        ;;
      --dry-run) dry=1 ;;
      -y | --yes) yes=1 ;;
      *) rest+=("$word") ;;
    esac
  done
  need "$terraform" "each verb"
  "do_$verb" ${rest[@]+"${rest[@]}"}
}
