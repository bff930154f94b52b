#!/bin/bash
# Once per machine, on the host: QEMU from Debian's packages; Debian's cloud kernel, static busybox and policy compilers unpacked into a
# cache folder (neither is installed), and the initramfs that guest/initramfs-init starts from. Does nothing when all is there.
# Environment: VM_CACHE (that folder), VM_KERNEL (a package whose newest kernel it is; the cloud kernel has few drivers).
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
cache=${VM_CACHE:-/var/cache/tinyctr-vm}
modules='virtio_pci virtiofs virtio-rng overlay'
kernel_package=${VM_KERNEL:-linux-image-cloud-amd64}

die() { echo "test/vm/setup.sh: $*" >&2; exit 1; }
first_of() { for path; do if [ -e "$path" ]; then echo "$path"; break; fi; done; }
virtiofsd() { first_of /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd; }

[ "$(uname -m)" = x86_64 ] || die "the VM runs this machine's own programs and is only set up for x86_64, this is $(uname -m)"
stamp=$(cat "$here/setup.sh" "$here/guest/initramfs-init" | sha256sum)
if command -v qemu-system-x86_64 >/dev/null && [ -n "$(virtiofsd)" ] && [ "$(cat "$cache/stamp" 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi
[ "$(id -u)" = 0 ] || die "needs root (to install QEMU and to share / with the VM)"
command -v apt-get >/dev/null || die "needs Debian's or Ubuntu's apt-get (for qemu-system-x86, $kernel_package, busybox-static)"

apt() { apt-get -qq -o DPkg::Lock::Timeout=240 "$@"; }
apt update
if ! command -v qemu-system-x86_64 >/dev/null; then
  DEBIAN_FRONTEND=noninteractive apt install -y --no-install-recommends qemu-system-x86 >/dev/null
fi
[ -n "$(virtiofsd)" ] || die "no virtiofsd in /usr/lib/qemu or /usr/libexec: install Debian's package virtiofsd"

# The meta package names the newest kernel: the name moves with every security update.
package=$(apt-cache depends "$kernel_package" | awk '/Depends:/ { print $2; exit }')
[ -n "$package" ] || die "apt knows no package $kernel_package"
mkdir -p "$cache"
work=$(mktemp -d "$cache/setup.XXXXXX")
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt -o APT::Sandbox::User=root download "$package" busybox-static apparmor secilc)
mkdir "$work/kernel" "$work/busybox" "$work/lsm"
dpkg-deb -x "$work/$package"_*.deb "$work/kernel"
dpkg-deb -x "$work"/busybox-static_*.deb "$work/busybox"
# The compilers of AppArmor's and SELinux's policies, for test/vm/lsm.
for deb in "$work"/apparmor_*.deb "$work"/secilc_*.deb; do dpkg-deb -x "$deb" "$work/lsm"; done
busybox=$(first_of "$work/busybox/bin/busybox" "$work/busybox/usr/bin/busybox")
version=$(ls "$work/kernel/lib/modules")
"$busybox" depmod -b "$work/kernel" "$version"

# A flat folder of modules and the order to insert them in: modules.dep lists what a module needs, the deepest last.
tree=$work/initramfs
mkdir -p "$tree"/{bin,dev,proc,sys,lower,upper,newroot,job,modules}
install -m 755 "$busybox" "$tree/bin/busybox"
install -m 755 "$here/guest/initramfs-init" "$tree/init"
for module in $modules; do
  line=$(grep -E "/$module\.ko[^:]*:" "$work/kernel/lib/modules/$version/modules.dep") || die "$package has no module $module"
  for file in $(echo "${line#*:}" | tac -s ' ') "${line%%:*}"; do
    [ -e "$tree/modules/${file##*/}" ] && continue
    cp "$work/kernel/lib/modules/$version/$file" "$tree/modules/"
    echo "${file##*/}" >> "$tree/modules/order"
  done
done
(cd "$tree" && find . -mindepth 1 | LC_ALL=C sort | "$busybox" cpio -o -H newc -R 0:0 2>/dev/null) > "$work/initramfs.cpio"

rm -rf "$cache/kernel" "$cache/lsm" "$cache/initramfs.cpio" "$cache/stamp"
mv "$work/kernel" "$work/lsm" "$work/initramfs.cpio" "$cache/"
echo "$stamp" > "$cache/stamp"
echo "test/vm/setup.sh: kernel $version is in $cache" >&2
