#!/bin/sh
# install.sh ROOT BINARY lays out what the package puts onto a router below ROOT. One list for scripts/package and for the
# OpenWrt tree.
set -eu
root=$1
binary=$2
here=$(dirname "$0")
install -D -m 0755 "$binary" "$root/usr/sbin/warrend"
install -D -m 0755 "$here/warren.init" "$root/etc/init.d/warren"
install -D -m 0600 "$here/warren.config" "$root/etc/config/warren"
install -D -m 0644 "$here/warren.keep" "$root/lib/upgrade/keep.d/warren"
