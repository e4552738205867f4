#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The Debian package, built from the dist tarball, installed with its dependencies in a
# minimal Debian 12 of its own, does the main job there: mosquitto and the gateway run in
# the chroot, Kafka (librdkafka's mock) and the publisher outside. Removing the package
# keeps the journal, purging it does not.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need debootstrap dpkg-buildpackage jq lintian mosquitto unshare "$TESTLIB/ledger_publish"
[ "$(id -u)" -eq 0 ] || skip_all "only root can make a chroot"
unshare -m true 2>/dev/null || skip_all "mounts of one's own are not allowed here"

SUITE=bookworm
ROOT=$WORK/root
BASE=$TOP_BUILDDIR/_chroot/$SUITE.tar

# The packages come from where this machine's apt takes its own.
apt_sources() {
	# shellcheck disable=SC2016 # apt's own
	apt-get indextargets --format '$(CREATED_BY) deb $(SITE) $(RELEASE) $(COMPONENT)' |
		awk -v suite="$SUITE" '$1 == "Packages" && index($4, suite) == 1 &&
			$5 == "main" { sub(/^[^ ]* /, ""); print }' | sort -u
}

# become_inside COMMAND...: this shell becomes that command in the chroot, with a /proc of
# its own, which goes when the command has ended
become_inside() {
	# shellcheck disable=SC2016 # for the inner shell
	exec unshare -m --propagation private sh -c '
		root=$1
		shift
		mount -t proc proc "$root/proc" && exec chroot "$root" "$@"' - "$ROOT" \
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive "$@"
}

inside() {
	(become_inside "$@")
}

# Programs whose root is the chroot. There are none once all is stopped.
nothing_runs_inside() {
	local root
	for root in /proc/[0-9]*/root; do
		[ "$(readlink "$root")" = "$ROOT" ] || continue
		tr '\0' ' ' <"${root%/root}/cmdline"
		return 1
	done
}

build_deb() {
	env -u MAKEFLAGS -u MAKELEVEL -u TESTS make -C "$TOP_BUILDDIR" deb >"$WORK/build.log" 2>&1 &&
		DEB=$(find "$TOP_BUILDDIR/_deb" -name 'tidegate_*.deb')
}

lint_deb() {
	lintian --allow-root --fail-on error "$TOP_BUILDDIR"/_deb/*.changes
}

# A minimal Debian, kept as a tar file for the next time.
make_base() {
	local site
	[ -s "$BASE" ] && return 0
	mkdir -p "${BASE%/*}"
	site=$(apt_sources | awk -v suite="$SUITE" '$3 == suite { print $2; exit }')
	timeout 600 debootstrap --variant=minbase "$SUITE" "$WORK/base" "$site" \
		>"$WORK/debootstrap.log" 2>&1 &&
		tar -C "$WORK/base" -cf "$BASE.new" . && mv "$BASE.new" "$BASE" &&
		rm -rf "$WORK/base"
}

make_root() {
	make_base && mkdir "$ROOT" && tar -C "$ROOT" -xf "$BASE" || return 1
	rm -rf "$ROOT"/etc/apt/sources.list*
	apt_sources >"$ROOT/etc/apt/sources.list"
	apt-config dump Acquire >"$ROOT/etc/apt/apt.conf.d/99host"
	cp -L /etc/resolv.conf /etc/hosts "$ROOT/etc/"
	# No service starts while packages are installed.
	printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d"
	chmod +x "$ROOT/usr/sbin/policy-rc.d"
	cp "$DEB" "$ROOT/tidegate.deb"
	inside true
}

install_deb() {
	inside timeout 300 sh -c 'apt-get -q update && apt-get -q -y --no-install-recommends \
		install /tidegate.deb mosquitto' >"$WORK/install.log" 2>&1
}

installed_files_are_there() {
	local file
	for file in usr/sbin/tidegated usr/bin/tidegate-dump usr/bin/tidegate-admin \
		usr/libexec/tidegate/tidegate-ingest usr/libexec/tidegate/tidegate-forward \
		etc/tidegate/tidegate.conf lib/systemd/system/tidegate.service \
		usr/share/doc/tidegate/examples/mosquitto-tidegate.conf \
		usr/share/man/man8/tidegated.8.gz usr/share/man/man8/tidegate-admin.8.gz \
		usr/share/man/man5/tidegate.conf.5.gz usr/share/man/man1/tidegate-dump.1.gz; do
		[ -s "$ROOT/$file" ] || { echo "no $file"; return 1; }
	done
	inside grep -qx /etc/tidegate/tidegate.conf /var/lib/dpkg/info/tidegate.conffiles
}

directory_is_the_users() {
	[ "$(inside stat -c '%U:%G %a' /var/lib/tidegate)" = 'tidegate:tidegate 750' ]
}

unit_is_whole() {
	grep -qx 'ExecStart=/usr/sbin/tidegated -c /etc/tidegate/tidegate.conf' \
		"$ROOT/lib/systemd/system/tidegate.service" && ! grep @ "$ROOT/lib/systemd/system/tidegate.service"
}

shipped_conf_passes() {
	inside runuser -u tidegate -- tidegated -t
}

# start_inside LOG COMMAND...: in the background; its pid in INSIDE_PID
start_inside() {
	local log=$WORK/$1.log
	shift
	become_inside "$@" >"$log" 2>&1 8>&- 9>&- &
	INSIDE_PID=$!
	track $INSIDE_PID
}

broker_is_up() {
	port_open "$BROKER_PORT"
}

start_broker_inside() {
	BROKER_PORT=$(free_port)
	cat >"$ROOT/etc/mosquitto/test.conf" <<-EOT
		listener $BROKER_PORT 127.0.0.1
		allow_anonymous true
		persistence_location /var/lib/mosquitto/
		log_dest stderr
		log_type all
		include_dir /etc/mosquitto/conf.d
	EOT
	cp "$ROOT/usr/share/doc/tidegate/examples/mosquitto-tidegate.conf" "$ROOT/etc/mosquitto/conf.d/"
	start_inside mosquitto mosquitto -c /etc/mosquitto/test.conf
	BROKER_INSIDE=$INSIDE_PID
	wait_for 10 broker_is_up
}

start_gateway_inside() {
	cat >"$ROOT/etc/tidegate/tidegate.conf" <<-EOT
		gateway_id = "$GATEWAY_ID";
		mqtt = { host = "127.0.0.1"; port = $BROKER_PORT; };
		kafka = { bootstrap_servers = "$KAFKA_BOOTSTRAP"; };
		routes = ( { name = "default"; topic_filters = [ "t/#" ]; topic = "records"; envelope = "none"; } );
	EOT
	start_inside gateway setpriv --reuid tidegate --regid tidegate --clear-groups tidegated
	GATEWAY_INSIDE=$INSIDE_PID
	wait_for 20 is_subscribed 't/#'
}

publish() {
	publish_start main -d 3 -n 300 -r 1000
	publish_wait 60
}

# kept_inside COUNT TOTAL: so many are kept of so many that have come in
kept_inside() {
	[ "$(inside tidegate-dump --stat --json | jq -r '"\(.records) \(.next_seq - 1)"')" = "$1 $2" ]
}

# It was changed above: it is the operator's now.
conf_is_kept() {
	inside timeout 300 apt-get -q -y install --reinstall -o Dpkg::Options::=--force-confdef /tidegate.deb \
		>"$WORK/reinstall.log" 2>&1 && grep -q "$KAFKA_BOOTSTRAP" "$ROOT/etc/tidegate/tidegate.conf"
}

remove_deb() {
	inside timeout 300 apt-get -q -y remove tidegate >"$WORK/remove.log" 2>&1 && [ ! -e "$ROOT/usr/sbin/tidegated" ]
}

purge_deb() {
	inside timeout 300 apt-get -q -y purge tidegate >"$WORK/purge.log" 2>&1 &&
		[ ! -e "$ROOT/etc/tidegate" ] && [ ! -e "$ROOT/var/lib/tidegate" ]
}

[ -n "$(apt_sources)" ] || skip_all "this machine's apt has no $SUITE"
build_deb || bail "make deb"
ok "make deb"
check "lintian finds no error" lint_deb
make_root || bail "a minimal Debian"
ok "a minimal Debian"
check "the package is installed with what it needs" install_deb || tap_done
check "its files are there" installed_files_are_there
check "its directory belongs to its user" directory_is_the_users
check "its unit is whole" unit_is_whole
check "the shipped configuration passes" shipped_conf_passes

start_mock records:2 || bail "no embedded Kafka"
start_broker_inside || bail "mosquitto starts in the chroot, with the shipped settings"
ok "mosquitto starts in the chroot, with the shipped settings"
check "the gateway starts there as its own user" start_gateway_inside
consume_start main records -w
check "messages are published" publish
check "they leave the journal" wait_for 30 kept_inside 0 300
check "Kafka goes away" mock_down
check "more are published" publish
check "they are kept" wait_for 10 kept_inside 300 600
check "Kafka comes back" mock_up
check "they leave the journal" wait_for 60 kept_inside 0 600
check "all arrived" consume_finish main
check "the gateway stops" end_pid "$GATEWAY_INSIDE" 20
check "the broker stops" end_pid "$BROKER_INSIDE" 20
check "nothing runs there any more" nothing_runs_inside

check "installing it again keeps the operator's configuration" conf_is_kept
check "removing it" remove_deb
check "keeps the journal" test -s "$ROOT/var/lib/tidegate/data.mdb"
check "purging it removes everything" purge_deb
tap_done
