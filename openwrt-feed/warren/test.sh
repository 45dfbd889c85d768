#!/bin/sh
# Run by OpenWrt's CI on the installed package: test.sh PACKAGE VERSION.
[ "$1" = warren ] || exit 0
warrend --version | grep -F "$2" || exit 1
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
warrend config-from-uci /etc/config/warren >"$folder/warren.toml" || exit 1
grep -q '^version = 1' "$folder/warren.toml"
