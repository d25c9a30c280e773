# shellcheck shell=bash
# What the scripts share: steps that say what they do, and packages that are installed only where
# missing. Sourced, not run. Long output goes to $S3JAIL_LOG and is shown only where a step fails.

# Where a Node.js of this directory's own lies, on a machine that has none or one that is too old.
own_node=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.node
use_own_node() {
  if [ -x "$own_node/node_modules/.bin/node" ]; then PATH=$own_node/node_modules/.bin:$PATH; fi
}
use_own_node

# at_exit FUNCTION : call it when the script ends, however it ends; the last one given runs first.
exit_commands=()
at_exit() { exit_commands=("$1" "${exit_commands[@]}"); }
run_exit_commands() {
  local status=$? command
  for command in "${exit_commands[@]}"; do "$command"; done
  exit_commands=()
  return "$status"
}
trap run_exit_commands EXIT
# Ending by exit makes bash run the EXIT trap after a signal too.
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

keep_log=no
remove_log() { [ "$keep_log" = yes ] || rm -f "$S3JAIL_LOG"; }

# A script that another one calls writes to the log of its caller.
if [ -z "${S3JAIL_LOG:-}" ]; then
  S3JAIL_LOG=$(mktemp "${TMPDIR:-/tmp}/s3jail-setup.XXXXXX")
  export S3JAIL_LOG
  at_exit remove_log
fi

# Progress goes to stderr: the stdout of the scripts belongs to what they run.
say() { printf '%s\n' "$*" >&2; }

die() {
  say "s3jail: $*"
  exit 1
}

# step TEXT COMMAND... : one line of progress around a command whose output nobody needs to see.
step() {
  local text=$1 began=$SECONDS status=0
  shift
  printf '%s ... ' "$text" >&2
  printf '\n== %s: %s\n' "$text" "$*" >>"$S3JAIL_LOG"
  # A plain subshell, no "||": that would switch errexit off inside.
  set +e
  (
    set -e
    "$@"
  ) >>"$S3JAIL_LOG" 2>&1 </dev/null
  status=$?
  set -e
  if [ "$status" -ne 0 ]; then
    say "FAILED (exit $status), the end of $S3JAIL_LOG:"
    tail -n 25 "$S3JAIL_LOG" | sed 's/^/    /' >&2
    keep_log=yes
    exit 1
  fi
  say "done ($((SECONDS - began)) s)"
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Runs a command as root: directly, or by sudo where that is at hand.
as_root() {
  if is_root; then
    "$@"
  else
    sudo -- "$@"
  fi
}

# need_root WHY : ends with a plain sentence where root cannot be had.
need_root() {
  is_root && return
  command -v sudo >/dev/null || die "$1 needs root, and there is no sudo here: run this as root"
  say "$1 needs root: sudo may ask for your password"
  sudo -v || die "$1 needs root: run this as root"
}

is_installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Whether apt knows a version of the package that it could install.
is_available() {
  local candidate
  candidate=$(LC_ALL=C apt-cache policy "$1" | sed -n 's/^ *Candidate: //p')
  [ -n "$candidate" ] && [ "$candidate" != '(none)' ]
}

# The first of the names in "a|b" that is installed or can be.
choose_package() {
  local name names
  IFS='|' read -ra names <<<"$1"
  for name in "${names[@]}"; do
    if is_installed "$name"; then
      printf '%s\n' "$name"
      return
    fi
  done
  for name in "${names[@]}"; do
    if is_available "$name"; then
      printf '%s\n' "$name"
      return
    fi
  done
  return 1
}

# Prints those of the names that are not installed; fails where apt knows none of an "a|b" group.
missing_packages() {
  local wanted name list=''
  for wanted in "$@"; do
    name=$(choose_package "$wanted") || return 1
    is_installed "$name" || list+="$name"$'\n'
  done
  printf '%s' "$list"
}

# Installs packages without starting the services they bring: policy-rc.d is how Debian's packages
# ask. One that is there already is the administrator's and is left alone. Lists may name versions
# that the mirror has replaced since, so a failure is tried once more with fresh lists.
apt_install() (
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy"
    as_root chmod 755 "$policy"
  fi
  install=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Use-Pty=0
    -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@")
  "${install[@]}" || { as_root apt-get update && "${install[@]}"; }
)

# need_packages NAME... : NAME may be "a|b" for packages that Debian releases call differently.
need_packages() {
  local missing names=() sshd_is_new=no
  command -v apt-get >/dev/null || die 'apt-get is not here: these scripts are made for Debian'
  if missing=$(missing_packages "$@") && [ -z "$missing" ]; then return; fi
  need_root 'installing Debian packages'
  if [ -z "$missing" ]; then
    step 'Refreshing the package lists' as_root apt-get update
    missing=$(missing_packages "$@") || die "apt offers no package for one of: $*"
  fi
  mapfile -t names <<<"$missing"
  is_installed openssh-server || sshd_is_new=yes
  step "Installing ${names[*]}" apt_install "${names[@]}"
  # A machine that had no SSH server keeps its port closed, at the next boot too.
  if [ "$sshd_is_new" = yes ] && is_installed openssh-server && command -v systemctl >/dev/null; then
    step 'Keeping the new SSH service off' as_root systemctl disable ssh.service ssh.socket
  fi
}

# fetch_node VERSION DIRECTORY [NPM_PACKAGE...] : a Node.js as npm's registry has it, by the package for
# this machine (npm's package "node" would choose that one in an install script, which npm refuses).
fetch_node() {
  local version=$1 directory=$2 machine
  shift 2
  case $(uname -m) in
    x86_64) machine=x64 ;;
    aarch64) machine=arm64 ;;
    *) die "npm has no Node.js for $(uname -m)" ;;
  esac
  step "Installing Node.js $version into $directory" npm install --prefix "$directory" --no-save \
    --no-audit --no-fund "node-linux-$machine@$version" "$@"
}
