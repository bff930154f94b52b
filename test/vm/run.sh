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
[ $# -gt 0 ] || set -- test/vm/suite/*.test.mjs
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Absolute, because the guest's PATH knows no version manager.
node=$(readlink -f "$(command -v node)")
# The run writes docs/limits.md anew with TINYCTR_WRITE_DOCS=1; else it checks that its rows and verdicts still hold.
[ "${TINYCTR_WRITE_DOCS:-}" != 1 ] || export VM_FILES=docs
command="TINYCTR_MUST_WORK=${TINYCTR_MUST_WORK:-} TINYCTR_WRITE_DOCS=${TINYCTR_WRITE_DOCS:-} $(printf '%q ' "$node" --test --test-concurrency=1 --test-reporter=spec "$@")"
test/vm/setup.sh && VM_TIMEOUT=${VM_TIMEOUT:-840} test/vm/boot.sh "$command" | tee "$log"
code=$?

closing() { sed -n "s/^ℹ $1 \([0-9][0-9]*\)$/\1/p" "$log" | tail -n 1; }
passed=$(closing pass) failed=$(closing fail) skipped=$(closing skipped)
if [ -z "$passed" ]; then
  echo "The VM suite did not come to its end (exit status $code)."
  count 0 1 0
  exit 1
fi
count "$passed" "$((failed + $(closing cancelled)))" "$skipped"
exit "$code"
