#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The service and the template under a real systemd, process 1 of namespaces of its own,
# whose root is a copy in memory of this machine's: ready, status, reload, watchdog, what is
# tried again and what is not, credentials, several instances; all with what the units deny
# to the programs in force. mosquitto, Kafka (librdkafka's mock) and the publisher run beside
# it, in the same network.

# A network of its own: nothing of it is seen from outside, and its ports are free.
if [ "${OWN_NETWORK:-}" != yes ]; then
	if [ "$(id -u)" -ne 0 ]; then
		echo "1..0 # SKIP only root can start a systemd"
		exit 0
	fi
	if ! unshare -n true 2>/dev/null; then
		echo "1..0 # SKIP a network of one's own is not allowed here"
		exit 0
	fi
	OWN_NETWORK=yes exec unshare -n "$0"
fi

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

SYSTEMD=/lib/systemd/systemd
need "$SYSTEMD" curl ip jq kcat mosquitto mosquitto_passwd nsenter systemctl "$TESTLIB/ledger_publish" "$TESTLIB/mockkafka"
ip link set lo up || skip_all "this network has no loopback"

# ---- a systemd ----

CGROUPS=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)$(sed -n 's/^0:://p' /proc/self/cgroup)
CGROUP=${CGROUPS%/}/tidegate-test-$$
INIT_PID=

# What becomes process 1: $1 is a directory for it, $2 what was installed.
# shellcheck disable=SC2016 # for the inner shell
BOOT='
	set -e
	mount -t tmpfs tmpfs "$1"
	mkdir "$1/upper" "$1/work" "$1/root"
	mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
	cd "$1/root"
	mount -t proc proc proc
	mount -t sysfs -o ro sysfs sys
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	for d in run tmp dev; do mount -t tmpfs tmpfs "$d"; done
	for d in null zero full random urandom tty; do touch "dev/$d"; mount --bind "/dev/$d" "dev/$d"; done
	mkdir dev/pts dev/shm
	mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
	ln -s pts/ptmx dev/ptmx
	tar -C "$2" -c . | tar -x --keep-directory-symlink
	: >etc/machine-id
	cat >etc/systemd/system/tidegate-test.target <<-EOT
		[Unit]
		Requires=basic.target
		After=basic.target
	EOT
	mkdir old
	pivot_root . old
	umount -l /old
	# As process 1 does itself where it is not in a container: credentials need it.
	mount --make-rshared /
	exec env -i container=tidegate-test PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . "$0" --system \
		--unit=tidegate-test.target --show-status=0 --log-target=journal'

find_init() {
	local pid exe
	for pid in $(pgrep -P "$UNSHARE_PID"); do
		exe=$(readlink "/proc/$pid/exe") || continue
		[ "${exe%/systemd/systemd}" = "$exe" ] || INIT_PID=$pid
	done
	[ -n "$INIT_PID" ]
}

boot_settled() {
	is_gone "$UNSHARE_PID" || find_init
}

boot() {
	mkdir "$CGROUP" "$WORK/boot" || return 1
	# The group is what systemd takes for the root of all groups.
	sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' - "$CGROUP" \
		unshare --pid --mount --uts --ipc --cgroup --fork --kill-child --propagation private \
		sh -c "$BOOT" "$SYSTEMD" "$WORK/boot" "$WORK/installed" >"$WORK/boot.log" 2>&1 &
	UNSHARE_PID=$!
	wait_for 30 boot_settled && find_init || return 1
	wait_for 30 is_booted
}

is_booted() {
	inside systemctl is-active tidegate-test.target
}

# Process 1 does not end for less, and with it ends all that it has started.
test_cleanup() {
	[ -n "$INIT_PID" ] || INIT_PID=$(pgrep -P "${UNSHARE_PID:-1}" -f tidegate-test)
	[ -z "$INIT_PID" ] || kill -KILL "$INIT_PID" 2>/dev/null
	[ -z "${UNSHARE_PID:-}" ] || wait_for 10 is_gone "$UNSHARE_PID"
	[ ! -d "$CGROUP" ] || wait_for 10 find "$CGROUP" -depth -type d -exec rmdir '{}' ';'
}

inside() {
	nsenter -t "$INIT_PID" -m -u -i -p -C -r -w env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		LC_ALL=C.UTF-8 "$@"
}

install_it() {
	env -u MAKEFLAGS -u MAKELEVEL -u TESTS make -C "$TOP_BUILDDIR" install DESTDIR="$WORK/installed" \
		>"$WORK/install.log" 2>&1
}

# ---- units ----

property() { # UNIT NAME
	inside systemctl show -P "$2" "$1"
}

has() { # UNIT NAME VALUE
	local value
	value=$(property "$1" "$2")
	echo "$1: $2 is $value"
	[ "$value" = "$3" ]
}

says() { # UNIT PATTERN: in the words of its status
	local text
	text=$(property "$1" StatusText)
	echo "$1: $text"
	printf '%s\n' "$text" | grep -qE "$2"
}

logged() { # UNIT PATTERN
	inside journalctl -q --no-pager -o cat -u "$1" | grep -qE "$2"
}

has_failed() { # UNIT STATUS: once, for good
	wait_for 20 has "$1" ActiveState failed && has "$1" ExecMainStatus "$2" && has "$1" NRestarts 0
}

is_tried_again() {
	[ "$(property "$1" NRestarts)" -ge 2 ]
}

# drop_in UNIT LINE...: in [Service]; none: without any
drop_in() {
	local unit=$1 directory
	shift
	directory=/proc/$INIT_PID/root/etc/systemd/system/$unit.service.d
	mkdir -p "$directory"
	{
		echo '[Service]'
		echo 'RestartSec=100ms'
		printf '%s\n' "$@"
	} >"$directory/test.conf"
	inside systemctl daemon-reload
}

# conf NAME [LINE...]: the file NAME.conf, with further settings
conf() {
	local file=/proc/$INIT_PID/root$CONF_DIR/$1.conf
	shift
	cat >"$file" <<-EOT
		gateway_id = "$GATEWAY_ID";
		mqtt = { port = $BROKER_PORT; $MQTT_SETTINGS };
		journal = { directory = "$JOURNAL_DIR"; };
		kafka = { bootstrap_servers = "$KAFKA_BOOTSTRAP"; };
		monitor = { listen = "$LISTEN"; };
		routes = ( $ROUTES );
	EOT
	[ $# -eq 0 ] || printf '%s\n' "$@" >>"$file"
}

main_job() { # NAME
	consume_start "$1" records -w && publish_start "$1" -d 3 -n 300 -r 1000 && publish_wait 60 &&
		consume_finish "$1"
}

denied() {
	local pid of
	for of in "$(property tidegate MainPID)" $(inside pgrep -u tidegate tidegate-); do
		pid=/proc/$INIT_PID/root/proc/$of/status
		grep -qE '^CapBnd:\s0+$' "$pid" && grep -qE '^NoNewPrivs:\s1$' "$pid" && grep -qE '^Seccomp:\s2$' "$pid" ||
			return 1
	done
}

# /events: of tidegated and of both workers
shows_events() {
	local workers
	workers=$(curl -fsS "http://$LISTEN/events" | jq -r .worker | sort -u | tr '\n' ' ')
	echo "$workers"
	[[ $workers == *tidegate-forward*tidegate-ingest*tidegated* ]]
}

# The report says of the clock what this machine's kernel says.
clock_is_seen() {
	local here
	here=$(python3 -c '
import ctypes
t = ctypes.create_string_buffer(512)
state = ctypes.CDLL(None).adjtimex(t)
print(str(state not in (-1, 5) and not int.from_bytes(t[40:44], "little") & 64).lower())')
	kcat -C -q -e -b "$KAFKA_BOOTSTRAP" -t tidegate.status -o beginning 2>/dev/null | tail -n 1 >"$WORK/report.json"
	echo "here $here, there $(jq .clock_synchronised "$WORK/report.json")"
	[ "$(jq .clock_synchronised "$WORK/report.json")" = "$here" ]
}

stop() { # UNIT
	inside systemctl stop "$1" && has "$1" ActiveState inactive && has "$1" ExecMainStatus 0 && has "$1" Result success
}

is_restarted() { # UNIT PID: is it another process, and active?
	local pid
	pid=$(property "$1" MainPID)
	[ "$pid" != 0 ] && [ "$pid" != "$2" ] && has "$1" ActiveState active
}

# What the units have said, and no more tests.
give_up() {
	inside journalctl -q --no-pager -n 30 >"$WORK/journal.log"
	tap_done
}

install_it || bail "make install"
CONF_DIR=$(sed -nE 's|^ExecStart=.* -c (.*)/tidegate.conf$|\1|p' "$TOP_BUILDDIR/packaging/systemd/tidegate.service")
boot || {
	diag_file "boot" "$WORK/boot.log"
	skip_all "no systemd can be started here"
}
ok "a systemd runs: $(inside systemctl --version | head -n 1)"

BROKER_PORT=$(free_port)
KAFKA_BOOTSTRAP=127.0.0.1:$(free_port)
JOURNAL_DIR=/var/lib/tidegate
LISTEN=127.0.0.1:9464

# ---- the service ----
conf tidegate
drop_in tidegate
check "it starts with neither end there" inside timeout 60 systemctl start tidegate || give_up
check "and is active" has tidegate ActiveState active
check "systemctl status says what it waits for" wait_for 30 says tidegate 'waiting for the MQTT broker.*waiting for Kafka'
check "it stops" stop tidegate

BROKER_PORT=
start_mosquitto || bail "mosquitto"
start_mock records:2 || bail "no embedded Kafka"
STATUS='status = { kafka_topic = "tidegate.status"; interval_s = 1; };'
conf tidegate "$STATUS"
check "it starts" inside timeout 60 systemctl start tidegate || give_up
check "with both ends there it is well" wait_for 30 says tidegate '^well'
check "everything is denied to its programs that the unit denies" denied
check "messages go through" main_job first
check "the monitor says so" wait_for 20 curl -fsS -o "$WORK/ready" "http://$LISTEN/readyz"
check "and shows what systemd has started" wait_for 20 shows_events
check "the report knows of the clock" wait_for 20 clock_is_seen
check "tidegate-dump looks into the journal beside it" inside tidegate-dump -d "$JOURNAL_DIR" --stat

conf tidegate "$STATUS" 'log = { level = "debug"; };'
check "reload" inside timeout 60 systemctl reload tidegate
check "takes the new configuration" wait_for 20 logged tidegate 'the configuration was read again'
conf tidegate 'log = { level = "loud"; };'
check "reload with a mistake" inside timeout 60 systemctl reload tidegate
check "is told by the status" wait_for 20 says tidegate '^the new configuration was not taken over'
check "and changes nothing" has tidegate ActiveState active
conf tidegate "$STATUS"
inside systemctl reload tidegate

# ---- what ends and comes back ----
PID=$(property tidegate MainPID)
check "killed" inside systemctl kill --kill-whom=main -s KILL tidegate
check "it is started again" wait_for 30 is_restarted tidegate "$PID"
check "and well" wait_for 30 says tidegate '^well'
drop_in tidegate WatchdogSec=2
inside systemctl restart tidegate
PID=$(property tidegate MainPID)
check "it hangs" inside systemctl kill --kill-whom=main -s STOP tidegate
check "the watchdog ends it, and it is started again" wait_for 60 is_restarted tidegate "$PID"
check "the log says so" logged tidegate 'Watchdog timeout'
check "messages go through" main_job second
check "it stops" stop tidegate

# ---- what is wrong ----
drop_in tidegate
conf tidegate 'log = { level = "loud"; };'
inside systemctl reset-failed tidegate 2>/dev/null
inside systemctl start tidegate >/dev/null 2>&1
check "a mistake in the configuration: 78, once" has_failed tidegate 78
conf tidegate
drop_in tidegate ExecStart= "ExecStart=$(sed -n 's/^ExecStart=//p' "$TOP_BUILDDIR/packaging/systemd/tidegate.service") --nonsense"
inside systemctl reset-failed tidegate 2>/dev/null
inside systemctl start tidegate >/dev/null 2>&1
check "a mistake in the command line: 2, once" has_failed tidegate 2
drop_in tidegate ReadWritePaths=/srv
JOURNAL_DIR=/srv/missing
conf tidegate
inside systemctl reset-failed tidegate 2>/dev/null
inside systemctl start --no-block tidegate
check "the journal's directory is missing: it is tried again" wait_for 30 is_tried_again tidegate
inside install -d -o tidegate -g tidegate "$JOURNAL_DIR"
check "until it is there" wait_for 30 says tidegate '^well'
check "it stops" stop tidegate
JOURNAL_DIR=/var/lib/tidegate

# ---- a secret ----
stop_mosquitto
BROKER_PORT=
mosquitto_passwd -b -c "$WORK/passwords" site secret 2>/dev/null
chown mosquitto "$WORK/passwords" 2>/dev/null
start_mosquitto "password_file $WORK/passwords" 'allow_anonymous false' || bail "mosquitto with a password"
MQTT_SETTINGS='username = "site"; password = "credential:mqtt-password";'
conf tidegate
drop_in tidegate LoadCredential=mqtt-password:/root/mqtt-password
inside systemctl start --no-block tidegate
check "the secret is missing: it is tried again" wait_for 30 is_tried_again tidegate
inside install -m 0600 /dev/null /root/mqtt-password
echo secret >"/proc/$INIT_PID/root/root/mqtt-password"
check "until it is there, for root's eyes only" wait_for 30 says tidegate '^well'
check "it stops" stop tidegate
stop_mosquitto
MQTT_SETTINGS=

# ---- several ----
LISTEN=
BROKER_PORT=
start_mosquitto || bail "mosquitto"
drop_in tidegate@
conf north
sed -i -e '/^gateway_id/d' -e '/^journal/d' "/proc/$INIT_PID/root$CONF_DIR/north.conf"
inside systemctl start tidegate@north >/dev/null 2>&1
check "an instance that does not say who it is: 78, once" has_failed tidegate@north 78
check "it says what is missing" logged tidegate@north 'gateway_id: is missing'
check "all of it" logged tidegate@north 'journal.directory: is missing: .*/lib/tidegate/north"'
for name in north south; do
	GATEWAY_ID=$name JOURNAL_DIR=/var/lib/tidegate/$name
	conf "$name"
	check "tidegate@$name starts" inside timeout 60 systemctl start "tidegate@$name"
	check "and is well" wait_for 30 says "tidegate@$name" '^well'
	check "its journal is its own" inside tidegate-dump -d "$JOURNAL_DIR" --stat
done
check "the first goes on beside the second" wait_for 30 says tidegate@north '^well'
check "the first stops" stop tidegate@north
check "the second goes on" has tidegate@south ActiveState active
check "it stops" stop tidegate@south
[ "$TAP_FAILED" -eq 0 ] || give_up
tap_done
