#!/bin/sh
# Makes the image debian:SUITE of Debian's packages, by debootstrap, and tags it debian:latest.
#
#   import.sh [SUITE [MIRROR]]     SUITE: bookworm, trixie, …; bookworm without it
#
# TINYCTR names the program, "tinyctr" otherwise; it may carry options: TINYCTR='tinyctr --root /tmp/store'.
set -eu

suite=${1:-bookworm}
mirror=${2:-http://deb.debian.org/debian}

if ! command -v debootstrap >/dev/null; then
	echo "import.sh: debootstrap is not installed: apt-get install debootstrap" >&2
	exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf --one-file-system "$folder"' EXIT
trap 'exit 1' INT TERM HUP
rootfs=$folder/rootfs
log=$folder/log

# The packages are checked against the list of them, and that against Debian's signature, or nothing is made.
if ! debootstrap --variant=minbase --force-check-gpg "$suite" "$rootfs" "$mirror" >"$log" 2>&1; then
	echo "import.sh: debootstrap failed:" >&2
	tail -n 5 "$log" >&2
	[ ! -f "$rootfs/debootstrap/debootstrap.log" ] || tail -n 5 "$rootfs/debootstrap/debootstrap.log" >&2
	exit 1
fi

# Not part of an image: downloaded packages and lists, logs, device nodes, and what debootstrap copied from this machine.
rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/var/lib/apt/lists/* "$rootfs"/dev/*
rm -f "$rootfs/etc/resolv.conf" "$rootfs/etc/hostname"
find "$rootfs/var/log" -type f -delete
[ ! -e "$rootfs/etc/machine-id" ] || : >"$rootfs/etc/machine-id"

${TINYCTR:-tinyctr} import "$rootfs" "debian:$suite" \
	--change 'CMD ["/bin/bash"]' \
	--change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
${TINYCTR:-tinyctr} tag "debian:$suite" debian:latest
