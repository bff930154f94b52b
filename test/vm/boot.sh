#!/bin/bash
# Boots a VM (QEMU, Debian's cloud kernel, cgroup v2 only) in this machine's own files and runs ONE command in it as root.
# The guest's root is the host's /, read-only, below a tmpfs: every write vanishes with the VM. The host's /tmp/X is /lower/tmp/X there.
#
#   test/vm/boot.sh 'bash command'        output and exit code are the command's; 125: the VM panicked, hung or did not come up
#
# Environment: VM_CWD (where the command runs; here), VM_FILES (a folder for the files that it leaves in /job/files), VM_TIMEOUT (seconds;
# 300), VM_MEMORY (MiB; 2048), VM_CPUS (2), VM_ACCEL (QEMU's -accel; software emulation), APPEND (kernel arguments, for instance 'apparmor=1 security=apparmor'), VM_CACHE. Needs setup.sh once.
set -uo pipefail
[ $# = 1 ] || { echo "usage: test/vm/boot.sh 'bash command'" >&2; exit 2; }
here=$(dirname "$(readlink -f "$0")")
cache=${VM_CACHE:-/var/cache/tinyctr-vm}
limit=${VM_TIMEOUT:-300}
memory=${VM_MEMORY:-2048}
cwd=$(readlink -f "${VM_CWD:-.}")
[ -s "$cache/stamp" ] || { echo "test/vm/boot.sh: $cache is empty: run test/vm/setup.sh first" >&2; exit 125; }

job=$(mktemp -d "$cache/job.XXXXXX")
started=()
cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null; done
  wait
  rm -rf "$job"
}
trap cleanup EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
mkdir "$job/share" "$job/share/files" "$job/root"
install -m 755 "$here/guest/init" "$job/share/init"
printf '%s\n' "$1" > "$job/share/command"
echo "$cwd" > "$job/share/cwd"
echo "$(readlink -f "$cache")" > "$job/share/cache"
: > "$job/share/out"

# Shares folder $2 as virtiofs tag $1, in a private mount namespace. virtiofsd is what the guest's root talks to, so the host's / is
# a non-recursive, read-only bind there: its /proc, /sys and cgroups are out of the guest's reach, and its files can't be written.
share() {
  local prepare='exec "$@"' daemon
  daemon=$(ls /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd 2>/dev/null | head -n 1)
  if [ "$1" = root ]; then
    prepare='mount --bind / "$VM_ROOT" && mount -o remount,bind,ro "$VM_ROOT"'
    # A checkout on a file system of its own (a tmpfs, a volume) is not in that bind.
    prepare+=' && at=$(findmnt -nro TARGET -T "$VM_DIR") && if [ "$at" != / ]; then mount --bind "$at" "$VM_ROOT$at" && mount -o remount,bind,ro "$VM_ROOT$at"; fi'
    prepare+=' && exec "$@"'
  fi
  VM_ROOT=$job/root VM_DIR=$cwd setpriv --pdeathsig KILL unshare -m --propagation private sh -c "$prepare" sh \
    "$daemon" "--socket-path=$job/$1.sock" -o "source=$2" -o cache=always -o sandbox=chroot --thread-pool-size=2 > "$job/$1.log" 2>&1 &
  started+=($!)
}
share root "$job/root"
share job "$job/share"
for _ in $(seq 200); do [ -S "$job/root.sock" ] && [ -S "$job/job.sock" ] && break; sleep 0.02; done

kernel=("$cache"/kernel/boot/vmlinuz-*)
args=(-M q35,usb=off,sata=off,smbus=off -accel "${VM_ACCEL:-tcg,thread=multi,tb-size=512}" -smp "${VM_CPUS:-2}" -m "$memory"
  -nodefaults -no-user-config -display none -nic none -no-reboot
  -kernel "${kernel[0]}" -initrd "$cache/initramfs.cpio"
  -append "console=ttyS0 quiet panic=-1 oops=panic reboot=t mitigations=off nokaslr tsc=reliable random.trust_cpu=on cgroup_no_v1=all ${APPEND:-}"
  -chardev "file,id=serial,path=$job/console" -serial chardev:serial -device virtio-rng-pci
  -object "memory-backend-memfd,id=memory,size=${memory}M,share=on" -numa node,memdev=memory)
for tag in root job; do
  args+=(-chardev "socket,id=$tag,path=$job/$tag.sock" -device "vhost-user-fs-pci,queue-size=1024,chardev=$tag,tag=$tag")
done
setpriv --pdeathsig TERM timeout -k 5 "$limit" qemu-system-x86_64 "${args[@]}" < /dev/null > "$job/qemu.log" 2>&1 &
qemu=$!
started+=("$qemu")
tail -n +1 -s 0.2 -f --pid="$qemu" "$job/share/out" &
tail=$!
wait "$qemu"
status=$?
wait "$tail"

# What the guest wants to leave: plain files of /job/files.
if [ -n "${VM_FILES:-}" ]; then find "$job/share/files" -maxdepth 1 -type f -exec cp {} "$VM_FILES" ';'; fi
code=$(cat "$job/share/code" 2>/dev/null)
[ -n "$code" ] && exit "$code"
if [ "$status" = 124 ]; then reason="no end after $limit s"; else reason="it ended by itself (QEMU's exit status $status)"; fi
logs=("$job/console")
if [ -e "$job/share/started" ]; then
  reason+=' while the command ran'
else
  reason+=' before the command ran'
  logs+=("$job"/*.log)
fi
echo "test/vm/boot.sh: the VM failed: $reason. The last lines of its console:" >&2
tail -n 40 "${logs[@]}" >&2
exit 125
