# shellcheck shell=bash
# Variables of soak.sh and common.sh:
# shellcheck disable=SC2034,SC2153,SC2154
# SPDX-License-Identifier: Apache-2.0
#
# What runs beside the faults of soak.sh: those who look into the journal, and the samples of
# memory and file size; and what is made of both.

# ---- dump tools and orders ----

# start_reader [FILE]: something that goes through the whole journal, its pid in READER
start_reader() {
	"$TOP_BUILDDIR/tidegate-dump" -d "$JOURNAL_DIR" --json >"${1:-/dev/null}" 2>&1 &
	READER=$!
}

# hold_reader SECONDS: one that does not get on with its output, as one with a pager; in the
# end it is killed
hold_reader() {
	# Open for reading and writing: nobody reads, and nothing ends.
	[ -p "$WORK/pager" ] || mkfifo "$WORK/pager"
	exec 8<>"$WORK/pager"
	start_reader "$WORK/pager"
	sleep "$1"
	kill_reader
	exec 8>&-
}

kill_reader() {
	[ -n "$READER" ] || return 0
	kill -KILL "$READER"
	wait "$READER"
	READER=
} 2>/dev/null

# look WHAT COMMAND...: it must succeed, whatever happens around it
look() {
	local what=$1
	shift
	if timeout 60 "$@" >"$WORK/look.out" 2>&1; then
		echo "ok $what"
	else
		echo "failed $what: status $? $(tail -n 1 "$WORK/look.out")"
	fi
}

# look_on SEED: until it is ended
look_on() {
	READER=
	trap 'kill_reader; exit 0' TERM
	RANDOM=$(($1 + 1))
	local tool="$TOP_BUILDDIR/tidegate-dump -d $JOURNAL_DIR" kind a
	while :; do
		kind=$((RANDOM % 6))
		a=$RANDOM
		# shellcheck disable=SC2086
		case $kind in
		0) look "tidegate-dump --stat" $tool --stat ;;
		1) look "tidegate-dump --check" $tool --check ;;
		2) look "tidegate-dump --json" $tool --json ;;
		3)
			start_reader
			sleep "0.0$((a % 90 + 10))"
			kill_reader
			echo "ok tidegate-dump killed while it reads"
			;;
		4)
			hold_reader "$((a % 3)).5"
			echo "ok tidegate-dump held while it reads, then killed"
			;;
		5)
			has_command backup || continue
			rm -rf "$WORK/backup"
			mkdir "$WORK/backup"
			look "tidegate-admin backup" "$TOP_BUILDDIR/tidegate-admin" -c "$CONF" \
				backup "$WORK/backup/data.mdb"
			look "tidegate-dump --check of the backup" \
				"$TOP_BUILDDIR/tidegate-dump" -d "$WORK/backup" --check
			;;
		esac
		sleep "0.$((a % 10))"
	done >>"$WORK/looks" 2>/dev/null
}

look_is_well() {
	! grep '^failed' "$WORK/looks"
}

look_counts() {
	sed -n 's/^ok //p' "$WORK/looks" | LC_ALL=C sort | uniq -c |
		while read -r times what; do
			printf '# %-45s %6d\n' "$what" "$times"
		done
}

# Killed or ended by us; what tidegated says of any other end is shown.
workers_died_of_faults() {
	! grep ' died: ' "$WORK/gateway.log" | grep -vE 'died: (signal 9, |exit status 0)'
}

# ---- memory and file size ----

samples_start() {
	while sleep 1; do
		local pid worker
		for pid in /proc/[0-9]*; do
			worker=$(readlink "$pid/exe") || continue
			case $worker in
			*/tidegate-ingest | */tidegate-forward | */tidegated)
				# Somebody else's may run as well.
				grep -qzF -- "$CONF" "$pid/cmdline" || continue
				echo "$(now_ms) ${worker##*/} $(rss_kib "${pid#/proc/}")"
				;;
			esac
		done
		echo "$(now_ms) data.mdb $(($(stat -c %s "$JOURNAL_DIR/data.mdb") / 1024))"
	done >"$WORK/samples" 2>/dev/null &
	SAMPLER=$!
	track $SAMPLER
}

samples_stop() {
	end_pid "$SAMPLER"
}

# most NAME THIRD: the largest of its samples, in KiB
most() {
	awk -v name="$1" -v third="$2" -v began="$BEGAN" -v length_ms=$((SOAK_SECONDS * 1000)) '
		$2 == name && int(3 * ($1 - began) / length_ms) == third && $3 > most { most = $3 }
		END { print most + 0 }' "$WORK/samples"
}

# Flat: the most of the last third is within an eighth, and what one large batch takes, of
# the most of the middle one. A short run says nothing about that.
judge_samples() {
	local name slack
	for name in tidegated tidegate-ingest tidegate-forward data.mdb; do
		diag "$name, KiB, most in each third: $(most $name 0) $(most $name 1) $(most $name 2)"
		[ "$SOAK_SECONDS" -ge 300 ] || continue
		slack=$(($(most $name 1) / 8 + 2048))
		check "$name stays as large as it is" test "$(most $name 2)" -le $(($(most $name 1) + slack))
	done
}
