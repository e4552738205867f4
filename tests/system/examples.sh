#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What the manual shows is run as it is printed, beside a real gateway: each block of
# ".Bd -literal" with commands ("$ " or "# " in front) has to succeed, and where the page
# prints output, the same lines must come, other numbers, times and UUIDs aside. Whole
# configurations have to pass "tidegated -t", scripts have to run.
#
# What the pages take for granted is put in its place here: the default paths, sudo,
# systemctl and the user of the service.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# Called by eval:
# shellcheck disable=SC2317

need mosquitto jq mdb_stat python3 "$TOP_BUILDDIR/tidegated" "$TESTLIB/make_journal"

MAN=$TOP_SRCDIR/packaging/man
GATEWAY_ID="test"
TEMPLATE=$WORK/template

# ---- what the pages take for granted ----

sudo() {
	[ "$1" != -u ] || shift 2
	"$@"
}

systemctl() {
	case $1 in
	stop) stop_gateway ;;
	start | enable) start_gateway ;;
	restart) stop_gateway && start_gateway ;;
	reload) kill -HUP "$GATEWAY_PID" ;;
	is-active) ! is_gone "$GATEWAY_PID" && echo active ;;
	*) return 1 ;;
	esac
}

journalctl() {
	cat "$WORK/gateway.log"
}

install() {
	local arg args=()
	for arg in "$@"; do
		case $arg in
		-o | -g | tidegate) ;;
		*) args+=("$arg") ;;
		esac
	done
	command install "${args[@]}"
}

# with_conf PROGRAM ARGUMENT...
with_conf() {
	local program=$TOP_BUILDDIR/$1
	shift
	case " $* " in
	*" -c "* | *" -d "*) "$program" "$@" ;;
	*) "$program" -c "$CONF" "$@" ;;
	esac
}

tidegate-dump() {
	with_conf tidegate-dump "$@"
}

tidegate-admin() {
	with_conf tidegate-admin "$@"
}

tidegated() {
	with_conf tidegated "$@"
}

mosquitto_pub() {
	command mosquitto_pub -p "$BROKER_PORT" "$@"
}

# ---- the pages ----

# blocks PAGE: each literal block into a file of its own, as it is printed
blocks() {
	awk -v to="$WORK/blocks/$(basename "$1")" '
		/^\.Bd -literal/ { file = sprintf("%s.%02d", to, ++count); inside = 1; next }
		/^\.Ed/ { inside = 0; close(file) }
		inside {
			gsub(/\\\(dq/, "\""); gsub(/\\-/, "-"); gsub(/\\&/, ""); gsub(/\\e/, "\\")
			print >file
		}' "$1"
}

# Numbers, times and the like may be others than those on the page.
in_kind() {
	sed -E -e 's/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+/UUID/g' \
		-e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+Z)?/TIME/g' \
		-e 's/[0-9]+(\.[0-9]+)?( (B|KiB|MiB|GiB|bytes))?/N/g' -e 's/[[:space:]]+/ /g' \
		-e 's/^ //' -e 's/ $//'
}

# is_as_printed EXPECTED GOT: each line of the one is in the other
is_as_printed() {
	local line
	in_kind <"$2" >"$WORK/got.kind"
	while read -r line; do
		case $line in
		*...) grep -qF -- "${line%...}" "$WORK/got.kind" ;;
		*) grep -qxF -- "$line" "$WORK/got.kind" ;;
		esac || {
			diag "not printed: $line"
			diag_file "what was" "$2"
			return 1
		}
	done < <(in_kind <"$1")
}

# run_command COMMAND: and compare with $WORK/expected
run_command() {
	local rc text
	text=$(sed -e "s|/etc/tidegate/tidegate.conf|$CONF|g" -e "s|/var/lib/tidegate|$JOURNAL_DIR|g" \
		-e "s|/usr/libexec/tidegate|$TOP_BUILDDIR|g" -e "s|/backup|$WORK/backup|g" <<<"$1")
	eval "$text" >"$WORK/got" 2>"$WORK/got.err" </dev/null
	rc=$?
	if [ "$rc" -ne 0 ]; then
		diag "exit status $rc: $text"
		diag_file "standard error" "$WORK/got.err"
		return 1
	fi
	cat "$WORK/got.err" >>"$WORK/got"
	is_as_printed "$WORK/expected" "$WORK/got"
}

# run_block FILE: its commands in turn, each with the lines behind it
run_block() {
	local line command=""
	cd "$JOURNAL_DIR" || return 1
	: >"$WORK/expected"
	while IFS= read -r line; do
		case $line in
		'$ '* | '# '*)
			[ -z "$command" ] || run_command "$command" || return 1
			: >"$WORK/expected"
			command=${line#??}
			;;
		*)
			# A command goes on behind a pipe, or where the line was broken.
			case $command in
			*'|') command+=$line ;;
			*\\) command=${command%?}$line ;;
			*) printf '%s\n' "$line" >>"$WORK/expected" ;;
			esac
			;;
		esac
	done <"$1"
	run_command "$command" || return 1
	cd "$WORK" || return 1
}

is_block_of() {
	grep -qE "$2" "$1"
}

# properties_pass FILE: each group of them, between empty lines
properties_pass() {
	local group count=0
	while IFS= read -r -d $'\f' group; do
		# What is for every TLS stands in the first group alone.
		[[ $group == *security.protocol* ]] || group+=', "security.protocol=SSL"'
		printf 'gateway_id = "x";\nkafka = { properties = [\n%s\n]; };\n' "$group" \
			>"$WORK/properties.conf"
		echo 'routes = ( { name = "r"; topic_filters = "#"; topic = "t"; } );' \
			>>"$WORK/properties.conf"
		if ! "$TOP_BUILDDIR/tidegated" -t -c "$WORK/properties.conf" 2>"$WORK/mistakes"; then
			# The page says that it depends on how librdkafka was built.
			grep -q libcurl "$WORK/mistakes" || {
				cat "$WORK/properties.conf" "$WORK/mistakes"
				return 1
			}
		fi
		count=$((count + 1))
	done < <(awk -v RS= -v ORS='\f' '1' "$1")
	[ "$count" -ge 5 ]
}

# ---- the gateway that they are run beside ----

# Kafka refuses the topic, so the route holds at 4716; 4711 to 4713 are dead letters.
make_template() {
	mkdir "$TEMPLATE"
	{
		"$TESTLIB/make_journal" -n 4800 -k 100 -a 4713 -b 4711 "$TEMPLATE" &&
			"$TESTLIB/make_journal" -b 4712 "$TEMPLATE" &&
			"$TESTLIB/make_journal" -b 4713 "$TEMPLATE" &&
			"$TESTLIB/make_journal" -a 4715 "$TEMPLATE"
	} 2>>"$WORK/make.log"
}

holds() {
	grep -q 'route default holds at 4716' "$WORK/gateway.log"
}

is_moving() {
	journal_is_empty
}

# begin FILE: everything as it was at the beginning
begin() {
	[ -z "$GATEWAY_PID" ] || is_gone "$GATEWAY_PID" || stop_gateway || return 1
	rm -rf "$JOURNAL_DIR" "$WORK/backup" && mkdir "$JOURNAL_DIR" "$WORK/backup" &&
		cp "$TEMPLATE/data.mdb" "$JOURNAL_DIR" || return 1
	: >"$WORK/gateway.log"
	cp "$WORK/reader.py" "$JOURNAL_DIR"
	if is_block_of "$1" 'forward --once|status --short|is-active'; then
		mock_tell error produce TOPIC_AUTHORIZATION_FAILED 0 || return 1
	else
		mock_tell error produce TOPIC_AUTHORIZATION_FAILED 1000 || return 1
	fi
	start_gateway || return 1
	if is_block_of "$1" 'forward --once|status --short|is-active'; then
		wait_for 30 is_moving
	else
		wait_for 30 holds
	fi || return 1
	# It is started by the block itself, or has to leave the journal to it.
	if is_block_of "$1" 'systemctl (start|enable)' && ! is_block_of "$1" 'systemctl stop'; then
		stop_gateway || return 1
	fi
	! is_block_of "$1" 'forward --once|[.]*(adopt|new-identity|compact)$|--leave| leave' ||
		is_block_of "$1" 'systemctl stop' || stop_gateway
}

mkdir "$WORK/blocks"
for page in "$MAN"/*.[1578]; do
	blocks "$page"
done
grep -lE '^import ' "$WORK"/blocks/* | head -n 1 | xargs cat >"$WORK/reader.py"

MONITOR_SETTINGS='listen = "";'
ROUTES='{ name = "default"; topic_filters = [ "site/#" ]; topic = "records"; envelope = "none"; }'
start_mosquitto || bail "no mosquitto"
start_mock records:4 || bail "no embedded Kafka"
make_template || bail "no journal"
write_conf
check "there is a reader in Python" grep -q lmdb "$WORK/reader.py"

# The distribution's, which may not be the first one.
for PYTHON in /usr/bin/python3 python3 ""; do
	[ -z "$PYTHON" ] || ! "$PYTHON" -c 'import lmdb, msgpack, zstandard' 2>/dev/null || break
done
python3() {
	"$PYTHON" "$@"
}

for file in "$WORK"/blocks/*; do
	what=$(basename "$file")
	what="${what%.*}, block ${what##*.}"
	if is_block_of "$file" '^routes = '; then
		check "$what: a configuration that passes" "$TOP_BUILDDIR/tidegated" -t -c "$file"
	elif is_block_of "$file" '^"security.protocol='; then
		check "$what: properties that pass" properties_pass "$file"
	elif ! is_block_of "$file" '^[$#] [a-z]'; then
		continue
	elif is_block_of "$file" reader.py && [ -z "$PYTHON" ]; then
		skip "$what" "Python has no lmdb, msgpack or zstandard here"
	else
		check "$what: everything is in its place" begin "$file"
		check "$what: $(head -n 1 "$file")" run_block "$file"
	fi
done
is_gone "$GATEWAY_PID" || check "the gateway stops" stop_gateway
tap_done
