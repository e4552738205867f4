# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034
# SPDX-License-Identifier: Apache-2.0
#
# tcp_proxy.py between a worker and its peer. Sourced behind common.sh.

# start_proxy NAME PORT [ARGUMENT...]: in front of PORT; its own port in PROXY_PORT
start_proxy() {
	local name=$1 port=$2
	shift 2
	: >"$WORK/$name.out"
	"$TOP_SRCDIR/tests/lib/tcp_proxy.py" --control "$WORK/$name.control" "$@" "$port" \
		>"$WORK/$name.out" 2>"$WORK/$name.log" </dev/null &
	track $!
	wait_for 10 test -s "$WORK/$name.out" || return 1
	read -r PROXY_PORT <"$WORK/$name.out"
}

# tell_proxy NAME COMMAND...: returns once it has taken effect; PROXY_ANSWER is its line
PROXY_ANSWER=
tell_proxy() {
	local name=$1 answers
	shift
	answers=$(wc -l <"$WORK/$name.out")
	echo "$*" >"$WORK/$name.control"
	proxy_answered() { [ "$(wc -l <"$WORK/$name.out")" -gt "$answers" ]; }
	wait_for 10 proxy_answered || return 1
	PROXY_ANSWER=$(tail -n 1 "$WORK/$name.out")
	[[ $PROXY_ANSWER != failed* ]]
}
