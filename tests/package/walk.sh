#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A newcomer's walk: every command of README.md between "walk:begin" and "walk:end", as it
# is printed, in a small Debian 12 under a real systemd, where nothing of the project is but
# its package, as a user who may use sudo. Kafka is a real one, outside, at the usual port of
# a network that is the test's own. What the person who reads would do is done by the test:
# apt's question is answered, Kafka goes and comes back at the marks "walk:kafka-away" and
# "walk:kafka-back", and nobody types faster than the gateway connects or a message goes.
#
# WALK_README: another file to walk through.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=chroot.sh
. "$TOP_SRCDIR/tests/package/chroot.sh"

need_chroot
need java kcat mvn
private_network "$@"

ROOT=$WORK/root
README=${WALK_README:-$TOP_SRCDIR/README.md}
HOME_DIR=/home/anna
KAFKA=$TOP_SRCDIR/tests/kafka/kafka.sh
KAFKA_DATA=$WORK/kafka
PUBLISHED=0
KAFKA_IS_AWAY=

# Into $WORK/steps: files NNN.sh, the blocks; NNN.mark, the marks between them.
cut_into_steps() {
	mkdir "$WORK/steps"
	awk -v dir="$WORK/steps" '
		/^<!-- walk:begin/ { walking = 1; next }
		/^<!-- walk:end/ { walking = 0 }
		!walking { next }
		/^```sh$/ { file = sprintf("%s/%03d.sh", dir, ++n); next }
		/^```/ { if (file) close(file); file = ""; next }
		file { print >file }
		!file && /^<!-- walk:/ {
			mark = sprintf("%s/%03d.mark", dir, ++n)
			sub(/^<!-- walk:/, ""); sub(/ -->.*/, ""); print >mark; close(mark)
		}' "$README"
	ls "$WORK"/steps/*.sh >/dev/null
}

# The newcomer has a Debian of his own, a user in it, and the package.
make_debian() {
	chroot_make "$ROOT" &&
		chroot_run "$ROOT" useradd --create-home --shell /bin/bash anna &&
		echo 'anna ALL=(ALL) NOPASSWD: ALL' >"$ROOT/etc/sudoers.d/anna" &&
		cp "$DEB" "$ROOT$HOME_DIR/"
}

# What the printed command will ask apt for: there is no way out of the test's network.
download() {
	local packages
	packages=$(sed -n 's/^sudo apt install //p' "$WORK"/steps/*.sh)
	[ -n "$packages" ] && chroot_run "$ROOT" timeout 300 sh -c \
		"cd $HOME_DIR && apt-get -q -y --download-only install $packages" >"$WORK/download.log" 2>&1
}

start_kafka() {
	online "$KAFKA" libs >"$WORK/kafka-libs.log" 2>&1 &&
		"$KAFKA" start "$KAFKA_DATA" 9092 auto.create.topics.enable=true >"$WORK/kafka.log" 2>&1 5>&- &&
		track "$(cat "$KAFKA_DATA/pid")"
}


inside_status() {
	boot_run runuser -u tidegate -- tidegate-admin status --short
}

do_mark() {
	case $1 in
	kafka-away)
		KAFKA_IS_AWAY=yes
		"$KAFKA" stop "$KAFKA_DATA"
		;;
	kafka-back)
		KAFKA_IS_AWAY=
		"$KAFKA" restart "$KAFKA_DATA" 5>&- && track "$(cat "$KAFKA_DATA/pid")"
		;;
	*) echo "unknown mark $1" && return 1 ;;
	esac
}

# All that was published so far is in the journal, or was; while Kafka is there, it was.
is_taken() {
	local kept=$PUBLISHED
	[ -z "$KAFKA_IS_AWAY" ] && kept=0
	boot_run runuser -u tidegate -- tidegate-dump --stat --json |
		jq -e ".next_seq - 1 >= $PUBLISHED and .records <= $kept"
}

# run_block FILE: each command has to succeed; what they say is kept beside it
run_block() {
	local out=${1%.sh}.out rc
	cp "$1" "$ROOT$HOME_DIR/block"
	yes | boot_run timeout 300 sudo -i -u anna bash -e block >"$out" 2>&1
	rc=${PIPESTATUS[1]}
	rm -f "$ROOT$HOME_DIR/block"
	cat "$out"
	[ "$rc" -eq 0 ] || return 1
	PUBLISHED=$((PUBLISHED + $(grep -c ^mosquitto_pub "$1")))
	if [ -n "$KAFKA_IS_AWAY" ]; then
		wait_for 20 is_taken
	elif boot_run systemctl --quiet is-active tidegate; then
		wait_for 30 inside_status && { [ "$PUBLISHED" -eq 0 ] || wait_for 20 is_taken; }
	fi
}

# said COMMAND TEXT...: a block with that command has said all of these
said() {
	local command=$1 file text
	shift
	for file in "$WORK"/steps/*.sh; do
		grep -q "$command" "$file" || continue
		for text in "$@"; do
			grep -qF -- "$text" "${file%.sh}.out" || continue 2
		done
		return 0
	done
	return 1
}

page_answers() {
	exec 7<>/dev/tcp/127.0.0.1/9464 && printf 'GET / HTTP/1.0\r\n\r\n' >&7 &&
		timeout 10 cat <&7 | grep -q 'site-17'
}

cut_into_steps || skip_all "$README has no walk"
start_kafka || bail "a real Kafka"
ok "a real Kafka"
shared_deb || bail "make deb"
make_debian || bail "a small Debian with the package in it"
ok "a small Debian with the package in it"
check "what apt will ask for can be had" download || tap_done
boot_start "$ROOT" || bail "systemd starts in it"
ok "systemd starts in it"

for step in "$WORK"/steps/*.sh "$WORK"/steps/*.mark; do
	echo "$step"
done | LC_ALL=C sort >"$WORK/order"
while read -r step <&6; do
	case $step in
	*.mark) check "$(cat "$step")" do_mark "$(cat "$step")" ;;
	*) check "$(head -n 1 "$step")" run_block "$step" || tap_done ;;
	esac
done 6<"$WORK/order"

check "the message arrived in Kafka" said ^kcat 'hall/3/temperature  {"celsius": 21.5}'
check "the backlog was shown while Kafka was away" said tidegate-dump hall/3/temperature '21.7'
check "it arrived when Kafka was back" said ^kcat 21.5 21.7
check "both ends were checked" said check-connection 'ok'
check "the status says that it is well" inside_status
check "the status page is there" page_answers
boot_end
tap_done
