#!/bin/sh
# Makes a root filesystem of this machine's own programs and the libraries they need.
#
#   make.sh DIRECTORY [PROGRAM...]
#
# Only files are copied: nothing of the machine's configuration, accounts or keys.
set -eu

target=${1:?usage: make.sh DIRECTORY [PROGRAM...]}
shift
[ $# -gt 0 ] || set -- sh ls cat cp mv rm mkdir echo env id hostname ps mount umount sleep kill grep sed uname df tty

if [ -e "$target" ]; then
	echo "make.sh: $target exists already; name a directory that is to be made" >&2
	exit 1
fi
mkdir -p "$target/usr"

# Where /bin is a link to usr/bin here, it is one there: programs and the loader are found by the same paths.
for name in bin sbin lib lib32 lib64 libx32; do
	if [ -h "/$name" ]; then
		cp -P "/$name" "$target/$name"
		mkdir -p "$target/usr/${name}"
	elif [ -d "/$name" ]; then
		mkdir "$target/$name"
	fi
done

# copy FILE: to the same path below the target, links followed.
copy() {
	[ -e "$target$1" ] && return
	mkdir -p "$(dirname "$target$1")"
	cp -L "$1" "$target$1"
}

# libraries FILE: the paths in what ldd says, "name => /path (address)" or "/path (address)". A static program has none.
libraries() {
	ldd "$1" 2>/dev/null | sed -n 's/^[^/]*\(\/[^ ]*\) (0x[0-9a-f]*)$/\1/p'
}

for program in "$@"; do
	path=$(command -v "$program" || true)
	case $path in
	/*) ;;
	*) path=$(PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin which "$program" 2>/dev/null || true) ;; # a shell builtin
	esac
	if [ -z "$path" ]; then
		echo "make.sh: no program $program here, left out" >&2
		continue
	fi
	copy "$path"
	for library in $(libraries "$path"); do copy "$library"; done
done

mkdir -p "$target/etc" "$target/proc" "$target/sys" "$target/dev" "$target/run" "$target/root" "$target/tmp" "$target/var/tmp"
chmod 700 "$target/root"
chmod 1777 "$target/tmp" "$target/var/tmp"
echo 'root:x:0:0:root:/root:/bin/sh' >"$target/etc/passwd"
echo 'nobody:x:65534:65534:nobody:/:/bin/false' >>"$target/etc/passwd"
echo 'root:x:0:' >"$target/etc/group"
echo 'nogroup:x:65534:' >>"$target/etc/group"
