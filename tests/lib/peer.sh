# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034
# SPDX-License-Identifier: Apache-2.0
#
# A program of tests/lib in the broker's place: it prints its port first, and ends when its
# standard input does, which is descriptor 6 here. Sourced behind common.sh.

# start_peer PROGRAM [ARGUMENT...]: its port in PEER_PORT, its words in $WORK/peer.out
start_peer() {
	local program=$1
	shift
	rm -f "$WORK/peer.in"
	: >"$WORK/peer.out"
	mkfifo "$WORK/peer.in" || return 1
	"$TOP_SRCDIR/tests/lib/$program" "$@" <"$WORK/peer.in" >"$WORK/peer.out" &
	PEER_PID=$!
	track "$PEER_PID"
	exec 6>"$WORK/peer.in"
	wait_for 10 test -s "$WORK/peer.out" || return 1
	read -r PEER_PORT <"$WORK/peer.out"
}

end_peer() {
	exec 6>&-
	wait_for 10 is_gone "$PEER_PID"
}
