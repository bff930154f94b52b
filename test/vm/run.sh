#!/bin/bash
# The VM suite: boots once and runs test/vm/suite/*.test.mjs (or the files given) in the guest with node --test.
# dist must be built. Without QEMU, and unless TINYCTR_MUST_WORK=1, it says so and runs nothing.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
count() { echo "vm: $1 passed, $2 failed, $3 skipped"; }

if [ "${TINYCTR_MUST_WORK:-}" != 1 ] && ! command -v qemu-system-x86_64 > /dev/null; then
  echo 'skipped: the VM suite: QEMU is not installed (test/vm/setup.sh installs it and fetches a kernel)'
  count 0 0 1
  exit 0
fi
[ $# -gt 0 ] || set -- test/vm/suite/*.test.mjs test/vm/lsm/*.test.mjs test/vm/rdma/*.test.mjs
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Absolute, because the guest's PATH knows no version manager.
node=$(readlink -f "$(command -v node)")
# The run writes docs/limits.md anew with TINYCTR_WRITE_DOCS=1; else it checks that its rows and verdicts still hold.
[ "${TINYCTR_WRITE_DOCS:-}" != 1 ] || export VM_FILES=docs
# Boots with the kernel arguments $1 and runs the other words, test files. The suite's share one boot; a security module has one of its own,
# and RDMA another kernel: the cloud kernel has no device in software.
boots=0 code=0 full=()
boot() {
  local command
  boots=$((boots + 1))
  command="TINYCTR_MUST_WORK=${TINYCTR_MUST_WORK:-} TINYCTR_WRITE_DOCS=${TINYCTR_WRITE_DOCS:-} $(printf '%q ' "$node" --test --test-concurrency=1 --test-reporter=spec "${@:2}")"
  env "${full[@]}" APPEND="${APPEND:-} $1" VM_TIMEOUT="${VM_TIMEOUT:-1500}" test/vm/boot.sh "$command" | tee -a "$log" || code=$?
}
suite=() apparmor=() selinux=() rdma=()
for file; do
  case $file in */apparmor.test.mjs) apparmor=("$file") ;; */selinux.test.mjs) selinux=("$file") ;; */rdma.test.mjs) rdma=("$file") ;; *) suite+=("$file") ;; esac
done
failed=0
if [ $((${#suite[@]} + ${#apparmor[@]} + ${#selinux[@]})) = 0 ] || test/vm/setup.sh; then
  [ ${#suite[@]} = 0 ] || boot '' "${suite[@]}"
  [ ${#apparmor[@]} = 0 ] || boot 'apparmor=1 security=apparmor' "${apparmor[@]}"
  [ ${#selinux[@]} = 0 ] || boot 'selinux=1 security=selinux' "${selinux[@]}"
else
  failed=1
fi
if [ ${#rdma[@]} != 0 ]; then
  full=(VM_KERNEL=linux-image-amd64 "VM_CACHE=${VM_CACHE:-/var/cache/tinyctr-vm}-full")
  if env "${full[@]}" test/vm/setup.sh; then boot '' "${rdma[@]}"; else failed=1; fi
fi

closing() { sed -n "s/^ℹ $1 \([0-9][0-9]*\)$/\1/p" "$log" | awk '{ sum += $1 } END { print sum + 0 }'; }
ends=$(grep -c '^ℹ pass [0-9]' "$log")
whole=0
[ "$failed" = 0 ] && [ "$ends" = "$boots" ] || whole=1
[ "$whole" = 0 ] || echo "The VM suite did not come to its end (exit status $code)."
passed=$(closing pass) wrong=$(($(closing fail) + $(closing cancelled) + (boots > ends ? boots - ends : 0) + failed)) skipped=$(closing skipped)

# As scripts/test.mjs: a few files that fail are run once more, alone, and what passes then is told.
if [ "${TINYCTR_SECOND_TRY:-}" = 1 ] && [ "$whole" = 0 ] && [ "$wrong" != 0 ]; then
  mapfile -t again < <(sed -n 's/^test at \(test\/vm\/[^:]*\.test\.mjs\):.*/\1/p' "$log" | sort -u)
  if [ ${#again[@]} -gt 0 ] && [ ${#again[@]} -le 3 ]; then
    echo "Once more, alone: ${again[*]}"
    TINYCTR_SECOND_TRY='' test/vm/run.sh "${again[@]}" | sed "s/^vm: /second try: /"
    if [ "${PIPESTATUS[0]}" = 0 ]; then
      printf 'unsteady: %s: failed at first, passed alone\n' "${again[@]}"
      passed=$((passed + wrong)) wrong=0 code=0
    fi
  fi
fi
count "$passed" "$wrong" "$skipped"
[ "$whole" = 0 ] || exit 1
exit "$code"
