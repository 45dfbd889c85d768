#!/bin/sh
# Run by OpenWrt's CI on the installed package: test.sh PACKAGE VERSION. ROOT is where it is installed, if not at /.
[ "$1" = warren ] || exit 0
warrend --version | grep -F "$2" || exit 1
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
warrend config-from-uci "$ROOT/etc/config/warren" >"$folder/warren.toml" || exit 1
grep -q '^version = 1' "$folder/warren.toml" || exit 1

# Names for dnsmasq: written once for each of its folders, and taken away again.
. "$ROOT/etc/init.d/warren"
FOLDER=$folder
RESOLVERS=$folder/dnsmasq.conf
RESOLVER=restarted
mkdir "$folder/one" "$folder/two" || exit 1
printf 'port=53\nconf-dir=%s\n' "$folder/one" >"$RESOLVERS.cfg1"
printf 'conf-dir=%s,*.conf\n' "$folder/two" >"$RESOLVERS.cfg2"
restarted() {
	echo "$1" >>"$FOLDER/restarts"
}
config_list_foreach() {
	"$3" warren.lan "$4"
}
restarts() {
	[ "$(wc -l <"$FOLDER/restarts")" -eq "$1" ] || {
		echo "dnsmasq was not started anew $1 times"
		exit 1
	}
}
lead_names 192.168.1.1
lead_names 192.168.1.1
restarts 1
for snippet in "$folder/one/warren.conf" "$folder/two/warren.conf"; do
	grep -qFx 'address=/warren/192.168.1.1' "$snippet" || exit 1
	grep -qFx 'local=/warren/' "$snippet" || exit 1
	grep -qFx 'address=/warren.lan/192.168.1.1' "$snippet" || exit 1
	! command -v dnsmasq >/dev/null || dnsmasq --test --conf-file="$snippet" || exit 1
done
lead_names 192.168.1.2
restarts 2
grep -qFx 'address=/warren/192.168.1.2' "$folder/two/warren.conf" || exit 1
[ "$(wc -l <"$folder/two/warren.conf")" -eq 4 ] || exit 1
lead_names
lead_names
restarts 3
[ ! -e "$folder/one/warren.conf" ] && [ ! -e "$folder/two/warren.conf" ]
