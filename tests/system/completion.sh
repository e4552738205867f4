#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The completion for bash: options, commands, values, files; and every option and command
# that a program's --help names is offered.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

# shellcheck source=../../packaging/completion/tidegate
. "$TOP_SRCDIR/packaging/completion/tidegate"

# complete_line WORD...: what is offered for the last word, in OFFERED, a line each. The
# function is the one that bash itself would call.
complete_line() {
	local spec function
	spec=$(complete -p "$1") || return 1
	function=${spec#*-F }
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	COMPREPLY=()
	(cd "$WORK/here" && "${function%% *}" && printf '%s\n' "${COMPREPLY[@]}" | LC_ALL=C sort) >"$WORK/offered"
	OFFERED=$(cat "$WORK/offered")
}

# offers EXPECTED WORD...: exactly these, in the order of the alphabet
offers() {
	local expected=$1
	shift
	complete_line "$@" || return 1
	[ "$(echo "$OFFERED" | tr '\n' ' ')" = "$expected " ] || {
		echo "for \"$*\": $OFFERED"
		return 1
	}
}

# knows_options PROGRAM [COMMAND...]: each long option of --help is offered, and no other;
# for the program alone or behind one of these commands
knows_options() {
	local program=$1 command
	shift
	"$TOP_BUILDDIR/$program" --help | grep -oE -- '--[a-z][a-z-]*' | sort -u >"$WORK/help"
	[ -s "$WORK/help" ] || return 1
	{
		complete_line "$program" -- && echo "$OFFERED"
		for command in "$@"; do
			complete_line "$program" "$command" -- && echo "$OFFERED"
		done
	} | sort -u >"$WORK/known"
	diff "$WORK/help" "$WORK/known"
}

knows_commands() {
	"$TOP_BUILDDIR/tidegate-admin" --help | sed -nE '2,/^options/s/^  ([a-z-]+) .*/\1/p' |
		LC_ALL=C sort -u >"$WORK/help"
	[ "$(wc -l <"$WORK/help")" -gt 7 ] || return 1
	complete_line tidegate-admin '' && diff "$WORK/help" "$WORK/offered"
}

mkdir -p "$WORK/here/adir" && touch "$WORK/here/afile.conf"

check "tidegated: every option of --help" knows_options tidegated
check "tidegate-dump: every option of --help" knows_options tidegate-dump
check "tidegate-admin: every option of --help" knows_options tidegate-admin status requeue-dead
check "tidegate-admin: every command of --help" knows_commands
check "an option is completed" offers "--test-config" tidegated --te
check "commands are completed" offers "discard-dead" tidegate-admin d
check "commands behind options" offers "salvage skip status" tidegate-admin -d dir --wait 5 s
check "a command's own options" offers "--json --short" tidegate-admin status --
check "dead letters by --all" offers "--all" tidegate-admin requeue-dead --a
check "no command behind a command" offers "" tidegate-admin skip s
check "-c takes files" offers "adir afile.conf" tidegated -c a
check "--config= takes files" offers "afile.conf" tidegated --config = af
check "-d takes directories" offers "adir" tidegate-dump -d a
check "-d of tidegate-admin, too" offers "adir" tidegate-admin --directory a
check "a backup takes files" offers "adir afile.conf" tidegate-admin backup a
check "salvage takes directories" offers "adir" tidegate-admin -v salvage a
check "times have examples" offers "-1d -2h -30m" tidegate-dump --since -
check "a number has none" offers "" tidegate-dump --count ''
tap_done
