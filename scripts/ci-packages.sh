#!/bin/bash
# Installs from Debian's packages what CI needs besides Node: a compiler for both architectures, libseccomp, and the other
# runtimes and clients that tests compare with. Nobody needs it to use tinyctr; test/vm/setup.sh brings QEMU.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
packages=(
  gcc make libc6-dev               # native-shim
  gcc-aarch64-linux-gnu libc6-dev-arm64-cross # native-shim for arm64
  libseccomp2 iproute2 python3 strace zstd
  runc crun podman skopeo conmon   # what tests compare with, and tinyctr-oci's callers
  docker-registry apache2-utils openssl # registries: with passwords, with a certificate of its own
  docker.io                        # what loads our archives, and whose archives we load
  debootstrap                      # rootfs-examples/debian
)
apt-get -qq -o DPkg::Lock::Timeout=240 update
apt-get -qq -o DPkg::Lock::Timeout=240 install -y --no-install-recommends "${packages[@]}" > /dev/null
