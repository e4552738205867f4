#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The Debian package, built from the dist tarball, through its life in a small Debian 12
# under a real systemd: installed (nothing starts by itself), configured, upgraded from an
# older version and downgraded to it with a backlog in the journal and messages coming in,
# removed, installed again, purged. Kafka (librdkafka's mock) and the publisher run outside,
# in the same network, which is the test's own. No message is lost; the operator's
# configuration is his.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=chroot.sh
. "$TOP_SRCDIR/tests/package/chroot.sh"

need_chroot
need dpkg-deb gdb lintian "$TESTLIB/ledger_publish" "$TESTLIB/mockkafka"
private_network "$@"

ROOT=$WORK/root
OLD_VERSION=0.0.9-1
BROKER_PORT=1883 # mosquitto's own: this network has no other
ETC=$ROOT/etc/tidegate

# ---- the packages ----

# Hints count, too. What looks like a misspelt word in a binary is machine code.
lint_deb() {
	local out
	out=$(lintian --allow-root -I --pedantic --suppress-tags spelling-error-in-binary "$DEB_DIR"/*.changes)
	echo "$out"
	[ -z "$out" ]
}

# The same programs under a lower version, with another shipped configuration: what makes
# dpkg ask at an upgrade.
make_old_deb() {
	OLD_DEB=$DEB_DIR/old.deb
	dpkg-deb -R "$DEB" "$WORK/old" &&
		sed -i "s/^Version: .*/Version: $OLD_VERSION/" "$WORK/old/DEBIAN/control" &&
		echo "# as it was" >>"$WORK/old/etc/tidegate/tidegate.conf" &&
		(cd "$WORK/old" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' |
			xargs -0 md5sum >DEBIAN/md5sums) &&
		dpkg-deb --root-owner-group -Zgzip -z1 -b "$WORK/old" "$OLD_DEB"
}

# A daemon that stops at a function of ours says the names of those that called it, and where.
symbols_give_a_backtrace() {
	local dbgsym debug=$WORK/debug
	dbgsym=$(find "$DEB_DIR" -name 'tidegate-dbgsym_*.deb')
	dpkg-deb -x "$DEB" "$debug" && dpkg-deb -x "${dbgsym:-none}" "$debug" || return 1
	timeout 60 gdb -nx -batch -iex "set debug-file-directory $debug/usr/lib/debug" \
		-iex 'set debuginfod enabled off' -ex 'break settings_load' \
		-ex "run --print-config -c $debug/etc/tidegate/tidegate.conf" -ex bt \
		"$debug/usr/sbin/tidegated" >"$WORK/gdb.log" 2>&1 </dev/null
	tail -n 5 "$WORK/gdb.log"
	grep -qE '^#0 .*settings_load \(.*settings\.c:[0-9]+' "$WORK/gdb.log" &&
		grep -qE '^#[1-9] .*main \(.*tidegated\.c:[0-9]+' "$WORK/gdb.log"
}

# ---- apt and systemd inside ----

# No question can be answered: who asks one fails.
apt_get() {
	boot_run timeout 300 apt-get -q -y --no-install-recommends "$@" >>"$WORK/apt.log" 2>&1 </dev/null
}

main_pid() {
	boot_run systemctl show -P MainPID "$1"
}

is_active() {
	[ "$(boot_run systemctl is-active "$1")" = active ]
}

is_version() {
	# shellcheck disable=SC2016 # dpkg's own
	[ "$(boot_run dpkg-query -W -f '${Version} ${db:Status-Status}' tidegate)" = "$1 installed" ]
}

# ---- what is installed ----

installed_files_are_there() {
	local file
	for file in usr/sbin/tidegated usr/bin/tidegate-dump usr/bin/tidegate-admin \
		usr/libexec/tidegate/tidegate-ingest usr/libexec/tidegate/tidegate-forward \
		usr/libexec/tidegate/tidegate-monitor etc/tidegate/tidegate.conf \
		lib/systemd/system/tidegate.service lib/systemd/system/tidegate@.service \
		usr/share/doc/tidegate/examples/mosquitto-tidegate.conf \
		usr/share/tidegate/grafana/tidegate.json \
		usr/share/tidegate/prometheus/tidegate.rules.yml \
		usr/share/bash-completion/completions/tidegated \
		usr/share/bash-completion/completions/tidegate-dump \
		usr/share/bash-completion/completions/tidegate-admin; do
		[ -s "$ROOT/$file" ] || { echo "no $file"; return 1; }
	done
	for file in "$TOP_SRCDIR"/packaging/man/*.[1578]; do
		file=${file##*/}
		[ -s "$ROOT/usr/share/man/man${file##*.}/$file.gz" ] || { echo "no $file"; return 1; }
	done
	grep -qx /etc/tidegate/tidegate.conf "$ROOT/var/lib/dpkg/info/tidegate.conffiles"
}

directory_is_the_users() {
	[ "$(boot_run stat -c '%U:%G %a' /var/lib/tidegate)" = 'tidegate:tidegate 750' ]
}

units_are_whole() {
	boot_run systemd-analyze verify --man=no tidegate.service tidegate@north.service &&
		! grep -n '[@][a-z]*dir[@]' "$ROOT"/lib/systemd/system/tidegate*.service
}

nothing_was_started() {
	[ "$(boot_run systemctl is-enabled tidegate.service)" = disabled ] &&
		[ "$(boot_run systemctl is-active tidegate.service)" = inactive ] &&
		[ "$(boot_run systemctl show -P InvocationID tidegate.service)" = '' ]
}

shipped_conf_passes() {
	boot_run runuser -u tidegate -- tidegated -t
}

completion_works() {
	# shellcheck disable=SC2016 # for the inner shell
	boot_run bash -c '. /usr/share/bash-completion/completions/tidegate-admin &&
		COMP_WORDS=(tidegate-admin stat) COMP_CWORD=1 && _tidegate_admin && [ "${COMPREPLY[*]}" = status ]'
}

# ---- the main job ----

start_broker() {
	cp "$ROOT/usr/share/doc/tidegate/examples/mosquitto-tidegate.conf" "$ROOT/etc/mosquitto/conf.d/" &&
		boot_run systemctl restart mosquitto && wait_for 10 port_open "$BROKER_PORT"
}

# The gateway of tidegate.service, and one of the template beside it.
configure() {
	cat >"$ETC/tidegate.conf" <<-EOT
		gateway_id = "$GATEWAY_ID";
		kafka = { bootstrap_servers = "$KAFKA_BOOTSTRAP"; };
		monitor = { listen = ""; };
		routes = ( { name = "default"; topic_filters = [ "t/#" ]; topic = "records"; envelope = "none"; } );
	EOT
	sed -e 's/^gateway_id.*/gateway_id = "north"; journal = { directory = "\/var\/lib\/tidegate\/north"; };/' \
		-e 's/"t\/#"/"north\/#"/' "$ETC/tidegate.conf" >"$ETC/north.conf"
	cp "$ETC/tidegate.conf" "$WORK/operators.conf"
}

start_service() {
	boot_run timeout 60 systemctl enable --now tidegate.service tidegate@north.service &&
		wait_for 20 has_journal
}

has_journal() {
	figures >/dev/null
}

figures() {
	boot_run runuser -u tidegate -- tidegate-dump --stat --json
}

# kept COUNT TOTAL: so many are kept of so many that have come in
kept() {
	[ "$(figures | jq -r '"\(.records) \(.next_seq - 1)"')" = "$1 $2" ]
}

publish() {
	publish_start main -d 3 -n "$1" -r 1000 && publish_wait 60
}

restarted_since() {
	local unit
	for unit in tidegate.service tidegate@north.service; do
		is_active "$unit" && ! grep -qx "$unit $(main_pid "$unit")" "$1" || return 1
	done
}

pids() {
	local unit
	for unit in tidegate.service tidegate@north.service; do
		echo "$unit $(main_pid "$unit")"
	done
}

# change_version DEB VERSION TOTAL [OPTION...]: Kafka is away, and messages come in while
# the package is exchanged; TOTAL have come in at the end
change_version() {
	local deb=$1 version=$2 total=$3
	shift 3
	pids >"$WORK/pids"
	publish_start main -d 3 -n 600 -r 200
	apt_get install "$@" "/debs/${deb##*/}" || return 1
	is_version "$version" && wait_for 30 restarted_since "$WORK/pids" || return 1
	publish_wait 60 && wait_for 30 has_taken "$total"
}

has_taken() {
	[ "$(figures | jq -r '.next_seq - 1')" -ge "$1" ]
}

is_delivered() {
	[ "$(figures | jq -r .records)" = 0 ]
}

ledger_lost_none() {
	[[ $LEDGER_LINE = *', lost 0,'* ]]
}

conf_is_the_operators() {
	cmp "$ETC/tidegate.conf" "$WORK/operators.conf"
}

new_conf_lies_beside() {
	conf_is_the_operators && cmp "$ETC/tidegate.conf.dpkg-dist" "$TOP_SRCDIR/etc/tidegate.conf"
}

# An unchanged shipped file: nothing to ask, so no option against questions is needed.
install_again() {
	apt_get install --reinstall "/debs/${DEB##*/}" && conf_is_the_operators
}

remove_deb() {
	apt_get remove tidegate && [ ! -e "$ROOT/usr/sbin/tidegated" ] && no_gateway_runs
}

no_gateway_runs() {
	! boot_run grep -lsx tidegated /proc/[0-9]*/comm
}

journal_is_there() {
	[ -s "$ROOT/var/lib/tidegate/data.mdb" ] && [ -s "$ROOT/var/lib/tidegate/north/data.mdb" ] &&
		[ -e "$ETC/tidegate.conf" ]
}

# What the operator made himself (north.conf) is his; the rest goes. The user stays, as
# files elsewhere may be his.
purge_deb() {
	rm -f "$ETC/north.conf"
	apt_get purge tidegate && [ ! -e "$ETC" ] && [ ! -e "$ROOT/var/lib/tidegate" ] &&
		! grep -rl . "$ROOT"/etc/systemd/system/*.wants/tidegate* 2>/dev/null &&
		boot_run id tidegate
}

shared_deb || bail "make deb"
ok "make deb"
check "lintian finds nothing" lint_deb
check "debug symbols give a backtrace with names and lines" symbols_give_a_backtrace
check "an older version of it" make_old_deb || tap_done
chroot_make "$ROOT" || bail "a small Debian"
mkdir "$ROOT/debs" && cp "$DEB" "$OLD_DEB" "$ROOT/debs/"
check "what it needs can be had" chroot_download "$ROOT" "/debs/${DEB##*/}" mosquitto
boot_start "$ROOT" || bail "systemd starts in it"
ok "systemd starts in it"

check "the package is installed with what it needs" apt_get install "/debs/${DEB##*/}" mosquitto || tap_done
check "its files are there" installed_files_are_there
check "its directory belongs to its user" directory_is_the_users
check "its units are whole" units_are_whole
check "nothing was started" nothing_was_started
check "the shipped configuration passes" shipped_conf_passes
check "the completion works" completion_works
check "purging it unused removes everything" purge_deb

check "the older version is installed" apt_get install "/debs/${OLD_DEB##*/}"
start_mock records:2 || bail "no embedded Kafka"
check "mosquitto takes the shipped settings" start_broker
check "the operator configures it" configure
check "the service starts, and an instance of the template" start_service || tap_done
consume_start main records -w
check "messages are published" publish 300
check "they leave the journal" wait_for 30 kept 0 300

check "Kafka goes away" mock_down
check "more are published" publish 300
check "they are kept" wait_for 10 kept 300 600
check "upgraded meanwhile, both services go on" \
	change_version "$DEB" "$(dpkg-deb -f "$DEB" Version)" 1200 -o Dpkg::Options::=--force-confold
check "the operator's configuration was kept, the new one lies beside it" new_conf_lies_beside
check "the backlog is as it was, and more" kept 900 1200
check "Kafka comes back" mock_up
check "they leave the journal" wait_for 60 is_delivered
check "installed again, no question is asked" install_again

check "Kafka goes away again" mock_down
check "downgraded meanwhile, both services go on" \
	change_version "$OLD_DEB" "$OLD_VERSION" 1800 --allow-downgrades -o Dpkg::Options::=--force-confold
check "the operator's configuration was kept" conf_is_the_operators
check "removed, it does not run" remove_deb
check "the journal stays" journal_is_there
check "the broker keeps what is published" publish 300
check "installed once more" apt_get install -o Dpkg::Options::=--force-confold "/debs/${DEB##*/}"
check "it goes on with the operator's configuration" start_service
check "Kafka comes back again" mock_up
check "they leave the journal" wait_for 60 kept 0 2100
check "all arrived" consume_finish main
check "none was lost" ledger_lost_none

check "purged while it runs, nothing is left of it" purge_deb
check "and it does not run" no_gateway_runs
boot_end
tap_done
