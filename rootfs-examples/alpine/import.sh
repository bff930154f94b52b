#!/bin/sh
# Makes the image alpine of the Alpine project's mini root filesystem, when its digest is the expected one.
#
#   import.sh [FILE]      FILE: alpine-minirootfs-VERSION-ARCHITECTURE.tar.gz; without it the file is downloaded
#
# TINYCTR names the program, "tinyctr" otherwise; it may carry options: TINYCTR='tinyctr --root /tmp/store'.
set -eu

version=3.20.3
branch=v3.20
architecture=$(uname -m)
name=alpine-minirootfs-$version-$architecture.tar.gz
address=https://dl-cdn.alpinelinux.org/alpine/$branch/releases/$architecture/$name

# The digest that stands here, or for another architecture the one that the project publishes beside the file.
case $architecture in
x86_64) expected=d4e6fd67dcf75e40c451560ac7265166c2b72a0f38ddc9aae756a7de3d1efa0c ;;
aarch64) expected=$(curl -fsSL "$address.sha256" | cut -d ' ' -f 1) ;;
*)
	echo "import.sh: tinyctr runs on x86_64 and aarch64; this is $architecture" >&2
	exit 1
	;;
esac

file=${1:-}
if [ -z "$file" ]; then
	folder=$(mktemp -d)
	trap 'rm -rf "$folder"' EXIT
	file=$folder/$name
	curl -fL -o "$file" "$address"
fi

actual=$(sha256sum "$file" | cut -d ' ' -f 1)
if [ "$actual" != "$expected" ]; then
	echo "import.sh: $file has the SHA-256 $actual, where $expected belongs: not imported" >&2
	exit 1
fi
${TINYCTR:-tinyctr} import "$file" "alpine:$version" \
	--change 'CMD ["/bin/sh"]' \
	--change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
${TINYCTR:-tinyctr} tag "alpine:$version" alpine:latest
