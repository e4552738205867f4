#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The RPM, built from the dist tarball with the macros that a Fedora has (fedora.macros):
# what is in it and what it asks for. Then it is installed, upgraded and erased in a tree
# of its own, where its scriptlets run as on a Fedora, with a systemd that only takes
# notes; and its programs do the main job there, with libraries of this machine.
# mosquitto, Kafka (librdkafka's mock) and the publisher are outside.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need flock rpmbuild rpm rpm2cpio cpio find-debuginfo eu-strip jq mosquitto unshare "$TESTLIB/ledger_publish"
[ "$(id -u)" -eq 0 ] || skip_all "only root can install into a tree"
unshare -m true 2>/dev/null || skip_all "mounts of one's own are not allowed here"

SPEC=$TOP_SRCDIR/packaging/rpm/tidegate.spec
MACROS=$TOP_SRCDIR/tests/package/fedora.macros
ROOT=$WORK/root

# ---- the package ----

# Debian's libraries have no names that rpm knows, hence --nodeps.
build_rpm() {
	mkdir -p "$TOP_BUILDDIR/_chroot"
	# Another test may be making the tarball, in the same place.
	env -u MAKEFLAGS -u MAKELEVEL -u TESTS flock "$TOP_BUILDDIR/_chroot/lock" make -C "$TOP_BUILDDIR" rpm \
		RPMBUILDFLAGS="--nodeps --nocheck --load $MACROS" >"$WORK/build.log" 2>&1 &&
		RPM=$(find "$TOP_BUILDDIR/_rpm/RPMS" -name 'tidegate-[0-9]*.rpm') && [ -s "$RPM" ]
}

query() {
	rpm -qp "$@" "$RPM" 2>/dev/null
}

# All that is in it. rpmbuild itself fails for a file that is installed and not packaged.
has_these_files() {
	query --qf '[%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES}\n]' |
		grep -v ' /usr/lib/\.build-id' | sed 's/\.gz$//' | LC_ALL=C sort -k 3 >"$WORK/files"
	diff - "$WORK/files" <<-EOT
		drwxr-xr-x root:root /etc/tidegate
		-rw-r--r-- root:root /etc/tidegate/tidegate.conf
		-rwxr-xr-x root:root /usr/bin/tidegate-admin
		-rwxr-xr-x root:root /usr/bin/tidegate-dump
		-rw-r--r-- root:root /usr/lib/systemd/system/tidegate.service
		-rw-r--r-- root:root /usr/lib/systemd/system/tidegate@.service
		-rw-r--r-- root:root /usr/lib/sysusers.d/tidegate.conf
		drwxr-xr-x root:root /usr/libexec/tidegate
		-rwxr-xr-x root:root /usr/libexec/tidegate/tidegate-forward
		-rwxr-xr-x root:root /usr/libexec/tidegate/tidegate-ingest
		-rwxr-xr-x root:root /usr/libexec/tidegate/tidegate-monitor
		-rwxr-xr-x root:root /usr/sbin/tidegated
		lrwxrwxrwx root:root /usr/share/bash-completion/completions/tidegate-admin
		lrwxrwxrwx root:root /usr/share/bash-completion/completions/tidegate-dump
		-rw-r--r-- root:root /usr/share/bash-completion/completions/tidegated
		drwxr-xr-x root:root /usr/share/doc/tidegate
		-rw-r--r-- root:root /usr/share/doc/tidegate/NEWS.md
		-rw-r--r-- root:root /usr/share/doc/tidegate/README.md
		drwxr-xr-x root:root /usr/share/doc/tidegate/examples
		-rw-r--r-- root:root /usr/share/doc/tidegate/examples/mosquitto-tidegate.conf
		drwxr-xr-x root:root /usr/share/licenses/tidegate
		-rw-r--r-- root:root /usr/share/licenses/tidegate/LICENSE
		-rw-r--r-- root:root /usr/share/man/man1/tidegate-admin.1
		-rw-r--r-- root:root /usr/share/man/man1/tidegate-dump.1
		-rw-r--r-- root:root /usr/share/man/man5/tidegate-journal.5
		-rw-r--r-- root:root /usr/share/man/man5/tidegate.conf.5
		-rw-r--r-- root:root /usr/share/man/man7/tidegate-operations.7
		-rw-r--r-- root:root /usr/share/man/man8/tidegated.8
		drwxr-xr-x root:root /usr/share/tidegate
		drwxr-xr-x root:root /usr/share/tidegate/grafana
		-rw-r--r-- root:root /usr/share/tidegate/grafana/tidegate.json
		drwxr-xr-x root:root /usr/share/tidegate/prometheus
		-rw-r--r-- root:root /usr/share/tidegate/prometheus/tidegate.rules.test.yml
		-rw-r--r-- root:root /usr/share/tidegate/prometheus/tidegate.rules.yml
		drwxr-x--- tidegate:tidegate /var/lib/tidegate
	EOT
}

# Bit 0 is %config, bit 4 noreplace.
has_one_configuration() {
	[ "$(query --qf '[%{FILEFLAGS} %{FILENAMES}\n]' | awk 'int($1) % 2 { print }')" = '17 /etc/tidegate/tidegate.conf' ]
}

# asks_for LIBRARY...
asks_for() {
	local library
	for library in "$@"; do
		query --requires | grep -q "^$library\.so" || { echo "not for $library"; return 1; }
	done
}

# Libraries by their soname, and what is called the same everywhere.
asks_for_nothing_else() {
	! query --requires | grep -vE '^(lib[a-z0-9_+-]+\.so\.|ld-linux.*\.so|rtld\(|rpmlib\(|config\(tidegate\)|/bin/sh$|shadow-utils$)'
}

# Of the sources nothing, of each program something.
debuginfo_is_there() {
	local program files
	files=$(rpm -qlp "$TOP_BUILDDIR"/_rpm/RPMS/*/tidegate-debuginfo-*.rpm 2>/dev/null) || return 1
	for program in sbin/tidegated bin/tidegate-dump bin/tidegate-admin libexec/tidegate/tidegate-ingest \
		libexec/tidegate/tidegate-forward libexec/tidegate/tidegate-monitor; do
		grep -q "^/usr/lib/debug/usr/$program-.*\.debug$" <<<"$files" || { echo "none of $program"; return 1; }
	done
}

# Without systemd-rpm-macros nothing of them is left in the scriptlets, and they do their part.
fallbacks_hold() {
	rpmspec -q --qf '%{POSTIN}\n%{PREUN}\n%{POSTUN}\n' "$SPEC" >"$WORK/scriptlets" 2>/dev/null &&
		! grep '%' "$WORK/scriptlets" &&
		grep -q 'systemctl --no-reload disable --now tidegate.service' "$WORK/scriptlets" &&
		grep -q 'systemctl try-restart tidegate.service' "$WORK/scriptlets"
}

# ---- the tree ----

# become_inside COMMAND...: this shell becomes it, with /dev and /proc in the tree, which
# go when it has ended
become_inside() {
	# shellcheck disable=SC2016 # for the inner shell
	exec unshare -m --propagation private sh -c '
		root=$1
		shift
		mount --bind /dev "$root/dev" && mount -t proc proc "$root/proc" && exec "$@"' - "$ROOT" \
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
}

# rpm_inside ARGUMENT...: its database is there, too
rpm_inside() {
	(become_inside rpm --root "$ROOT" --dbpath /var/lib/rpm --nodeps "$@") >>"$WORK/rpm.log" 2>&1
}

# copy_in PROGRAM...: with the libraries that it needs
copy_in() {
	local program
	for program in "$@"; do
		cp -L --parents "$(command -v "$program")" "$ROOT" && copy_libraries_in "$(command -v "$program")" || return 1
	done
}

copy_libraries_in() {
	ldd "$@" | grep -oE '/[^ ):]+\.so[^ ):]*' | sort -u | while read -r library; do
		[ -e "$ROOT$library" ] || cp -L --parents "$library" "$ROOT" || return 1
	done
}

# A systemd that notes what it is asked for.
put_systemd_in() {
	mkdir -p "$ROOT/run/systemd/system" "$ROOT/usr/lib/systemd"
	# shellcheck disable=SC2016 # for the scripts
	printf '#!/bin/sh\necho "systemctl $*" >>/asked\n' >"$ROOT/usr/bin/systemctl"
	# shellcheck disable=SC2016
	printf '#!/bin/sh\necho "helper $*" >>/asked\n' >"$ROOT/usr/lib/systemd/systemd-update-helper"
	chmod +x "$ROOT/usr/bin/systemctl" "$ROOT/usr/lib/systemd/systemd-update-helper"
}

# It has what the scriptlets need.
make_root() {
	local directory
	mkdir -p "$ROOT"/{dev,etc,proc,run,tmp,usr/bin,usr/sbin,usr/lib,usr/lib64,var/lib/rpm,var/log,var/mail} || return 1
	for directory in bin sbin lib lib64; do
		ln -s "usr/$directory" "$ROOT/$directory"
	done
	echo 'root:x:0:0:root:/:/bin/sh' >"$ROOT/etc/passwd"
	echo 'root:x:0:' >"$ROOT/etc/group"
	: >"$ROOT/etc/login.defs"
	copy_in sh getent groupadd useradd && put_systemd_in
}

# asked LINE...: of systemd, since the last time
asked() {
	printf '%s\n' "$@" | diff - "$ROOT/asked" && : >"$ROOT/asked"
}

install_rpm() {
	rpm_inside -i "$RPM" && copy_libraries_in "$ROOT"/usr/{bin/tidegate-*,sbin/tidegated,libexec/tidegate/*}
}

user_is_there() {
	grep -q '^tidegate:[^:]*:[0-9]*:[0-9]*:Tidegate gateway:/var/lib/tidegate:/sbin/nologin$' "$ROOT/etc/passwd"
}

directory_is_the_users() {
	TIDEGATE_UID=$(awk -F : '$1 == "tidegate" { print $3 }' "$ROOT/etc/passwd")
	TIDEGATE_GID=$(awk -F : '$1 == "tidegate" { print $3 }' "$ROOT/etc/group")
	[ "$(stat -c '%u:%g %a' "$ROOT/var/lib/tidegate")" = "$TIDEGATE_UID:$TIDEGATE_GID 750" ]
}

# rpm itself finds nothing changed, the owners included.
installed_as_packaged() {
	rpm_inside -V tidegate
}

# as_tidegate COMMAND...: this shell becomes it, in the tree
become_tidegate() {
	become_inside chroot --userspec="$TIDEGATE_UID:$TIDEGATE_GID" "$ROOT" "$@"
}

as_tidegate() {
	(become_tidegate "$@")
}

versions_agree() {
	local program version
	version=$(query --qf '%{VERSION}')
	for program in /usr/sbin/tidegated /usr/bin/tidegate-dump /usr/bin/tidegate-admin \
		/usr/libexec/tidegate/tidegate-ingest /usr/libexec/tidegate/tidegate-forward \
		/usr/libexec/tidegate/tidegate-monitor; do
		as_tidegate "$program" --version | grep -qF "$version" || { echo "$program"; return 1; }
	done
}

# ---- the main job there ----

edit_conf() {
	cat >"$ROOT/etc/tidegate/tidegate.conf" <<-EOT
		gateway_id = "$GATEWAY_ID";
		mqtt = { host = "127.0.0.1"; port = $BROKER_PORT; };
		kafka = { bootstrap_servers = "$KAFKA_BOOTSTRAP"; };
		monitor = { listen = "127.0.0.1:$MONITOR_PORT"; };
		routes = ( { name = "default"; topic_filters = [ "t/#" ]; topic = "records"; envelope = "none"; } );
	EOT
	cp "$ROOT/etc/tidegate/tidegate.conf" "$WORK/edited.conf"
}

conf_is_the_edited() {
	cmp "$WORK/edited.conf" "${1:-$ROOT/etc/tidegate/tidegate.conf}"
}

start_inside() {
	(become_tidegate /usr/sbin/tidegated) >>"$WORK/gateway.log" 2>&1 8>&- 9>&- &
	INSIDE_PID=$!
	track "$INSIDE_PID"
	wait_for 20 is_subscribed 't/#' && wait_for 20 port_open "$MONITOR_PORT"
}

stop_inside() {
	end_pid "$INSIDE_PID" 30
}

publish() {
	publish_start main -d 3 -n 300 -r 1000
	publish_wait 60
}

# kept COUNT TOTAL: so many are kept of so many that have come in
kept() {
	[ "$(as_tidegate /usr/bin/tidegate-dump --stat --json | jq -r '"\(.records) \(.next_seq - 1)"')" = "$1 $2" ]
}

# ---- a later version ----

# The same programs and scriptlets, another shipped configuration.
build_later() {
	local top=$WORK/later
	mkdir -p "$top/payload" && rpm2cpio "$RPM" | (cd "$top/payload" && cpio -idm --quiet) || return 1
	rm -rf "$top/payload/usr/lib/.build-id"
	echo '# A later version says more here.' >>"$top/payload/etc/tidegate/tidegate.conf"
	awk -v payload="$top/payload" -v source="$TOP_SRCDIR" '
		/^%(prep|build|check|install)$/ { skipping = 1 }
		/^# Newer rpm makes the user/ {
			print "%prep\n%setup -c -T\nfor file in LICENSE NEWS.md README.md; do cp " source "/$file .; done"
			print "%install\ncp -a " payload "/. %{buildroot}\n"
			skipping = 0
		}
		/^(Source0|BuildRequires):/ { next }
		/^Version:/ { $0 = "Version: 9.9.9" }
		!skipping' "$SPEC" >"$top/later.spec"
	rpmbuild -bb --nodeps --load "$MACROS" --define "_topdir $top" --define '_enable_debug_packages 0' \
		--define 'debug_package %{nil}' "$top/later.spec" >"$WORK/later.log" 2>&1 &&
		LATER=$(find "$top/RPMS" -name 'tidegate-9*.rpm') && [ -s "$LATER" ]
}

erased() {
	local file
	for file in usr/sbin/tidegated usr/libexec/tidegate usr/share/tidegate usr/share/doc/tidegate \
		usr/lib/systemd/system/tidegate.service etc/tidegate/tidegate.conf; do
		[ ! -e "$ROOT/$file" ] || { echo "$file is left"; return 1; }
	done
}

build_rpm || bail "make rpm"
ok "make rpm"
check "these files are in it, with these modes and owners" has_these_files
check "its only configuration file is not replaced" has_one_configuration
check "it asks for its libraries" asks_for liblmdb librdkafka libmosquitto libdeflate libconfig libjansson \
	libmicrohttpd libsystemd libzstd
check "it asks for nothing else" asks_for_nothing_else
check "debug information is in a package of its own" debuginfo_is_there
check "without Fedora's macros the scriptlets do the same" fallbacks_hold

make_root || bail "a tree for it"
check "it is installed" install_rpm || tap_done
check "its user is there" user_is_there
check "its directory belongs to that user" directory_is_the_users
check "all is there as packaged" installed_as_packaged
check "the unit is known, and not started" asked "helper install-system-units tidegate.service"
check "its programs run" versions_agree
check "the shipped configuration passes" as_tidegate /usr/sbin/tidegated -t

MONITOR_PORT=$(free_port)
start_mosquitto || bail "mosquitto starts"
start_mock records:2 || bail "no embedded Kafka"
edit_conf
check "the gateway starts there, with its monitor" start_inside
consume_start main records -w
check "messages are published" publish
check "they leave the journal" wait_for 30 kept 0 300
check "Kafka goes away" mock_down
check "more are published" publish
check "they are kept" wait_for 10 kept 300 600

check "a later version" build_later || tap_done
check "it takes the place of the first, beneath the running gateway" rpm_inside -U "$LATER"
check "restarts are asked for, of instances, too" asked \
	"helper mark-restart-system-units tidegate.service" \
	"systemctl daemon-reload" "systemctl try-restart tidegate@*.service"
check "the edited configuration stays" conf_is_the_edited
check "the new one is beside it" grep -q 'A later version' "$ROOT/etc/tidegate/tidegate.conf.rpmnew"
check "the gateway stops" stop_inside
check "and starts again" start_inside
check "the backlog is still there" kept 300 600
check "Kafka comes back" mock_up
check "it leaves the journal" wait_for 60 kept 0 600
check "all arrived" consume_finish main
check "the gateway stops" stop_inside

check "erasing it" rpm_inside -e tidegate
check "stops it first, with its instances" asked \
	"helper remove-system-units tidegate.service" \
	"systemctl stop tidegate@*.service" "systemctl --no-reload disable tidegate@.service"
check "its files are gone" erased
check "the journal is kept" test -s "$ROOT/var/lib/tidegate/data.mdb"
check "so is the edited configuration" conf_is_the_edited "$ROOT/etc/tidegate/tidegate.conf.rpmsave"
tap_done
