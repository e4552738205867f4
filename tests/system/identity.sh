#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Whose journal is it? One that was moved, cloned, restored from a backup, or is another
# gateway's is refused or taken over as it should be, and nothing is skipped or touched.
# Each machine is a mount namespace with a machine-id of its own, where that can be had.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

FORWARD=$TOP_BUILDDIR/tidegate-forward
FEED=$TESTLIB/feed_journal
ADMIN=$TOP_BUILDDIR/tidegate-admin
need jq kcat unshare "$FORWARD" "$FEED" "$ADMIN" "$TOP_BUILDDIR/tidegated" "$TOP_BUILDDIR/tidegate-dump"
BROKER_PORT=1883 # nobody connects to it

# ---- machines ----

HERE=11111111111111111111111111111111
THERE=22222222222222222222222222222222

UNSHARE=(unshare -m)
[ "$(id -u)" -eq 0 ] || UNSHARE+=(-r)

# on MACHINE COMMAND...: with that in /etc/machine-id; "none": with an empty one
on() {
	local machine=$1
	shift
	if [ "$machine" = none ]; then
		: >"$WORK/machine-none"
	else
		echo "$machine" >"$WORK/machine-$machine"
	fi
	# shellcheck disable=SC2016
	"${UNSHARE[@]}" sh -c 'mount --bind "$1" /etc/machine-id && shift && exec "$@"' sh \
		"$WORK/machine-$machine" "$@"
}

has_machines() {
	[ -e /etc/machine-id ] && [ "$(on $HERE cat /etc/machine-id)" = $HERE ]
}

# ---- gateways ----

# as NAME JOURNAL: the helpers mean this gateway, with that journal
as() {
	GATEWAY_ID=$1
	JOURNAL_DIR=$WORK/$2
	CONF=$WORK/$1-$2.conf
	ROUTES='{ name = "r"; topic_filters = [ "#" ]; topic = "records"; envelope = "none"; }'
	write_conf
}

# feed COUNT: so many records, on the machine $MACHINE
feed() {
	yes 'dev/1 40 0' | head -n "$1" | on "$MACHINE" "$FEED" "$JOURNAL_DIR" "$GATEWAY_ID"
}

delivers() {
	on "$MACHINE" timeout 60 "$FORWARD" -c "$CONF" --once >"$WORK/forward.log" 2>&1
}

# refused WORDS: each program that would write is refused, says so, and touches nothing
refused() {
	local before rc program
	before=$(cksum <"$JOURNAL_DIR/data.mdb")
	for program in tidegate-forward tidegate-ingest; do
		on "$MACHINE" timeout 20 "$TOP_BUILDDIR/$program" -c "$CONF" >"$WORK/refused.log" 2>&1
		rc=$?
		diag "$(grep -v ' info ' "$WORK/refused.log" | tail -n 1)"
		[ "$rc" -eq 1 ] && grep -qF -- "$1" "$WORK/refused.log" || return 1
	done
	[ "$(cksum <"$JOURNAL_DIR/data.mdb")" = "$before" ]
}

admin() {
	on "$MACHINE" "$ADMIN" -c "$CONF" "$@" && grep -q . "$JOURNAL_DIR/data.mdb"
}

stat_of() {
	dump --stat --json | jq -r "$1"
}

# copy_of JOURNAL NAME: as an image of the disk would have it
copy_of() {
	cp -a "$WORK/$1" "$WORK/$2"
}

# arrived GATEWAY UUID: the sequences in Kafka, a line each
arrived() {
	timeout 20 kcat -C -b "$KAFKA_BOOTSTRAP" -t records -e -q -f '%h\n' 2>>"$WORK/kcat.log" |
		sed -n "s|.*tidegate=$1/$2/\([0-9]*\)/.*|\1|p"
}

# has_arrived GATEWAY UUID FIRST LAST: each of them once, in order
has_arrived() {
	[ "$(arrived "$1" "$2" | tr '\n' ' ')" = "$(seq -s ' ' "$3" "$4") " ]
}

start_mock records:1 || bail "no embedded Kafka"
if ! has_machines 2>"$WORK/unshare.log"; then
	skip_all "no mount namespaces: $(tail -n 1 "$WORK/unshare.log")"
fi
MACHINE=$HERE

# ---- another gateway's ----

as east journal
check "a journal of the gateway east" feed 5
east=$(stat_of .uuid)
as west journal
check "the gateway west is refused, and nothing is touched" refused 'belongs to gateway "east"'
says_whose() {
	on "$MACHINE" timeout 60 "$TOP_BUILDDIR/tidegated" -c "$CONF" --check-connection --json \
		>"$WORK/connection.out" 2>&1
	grep -F '"fail"' "$WORK/connection.out" | grep -qF 'belongs to gateway'
}
check "so says the check of both ends" says_whose

# ---- moved: to another machine, then to another gateway id ----

as east journal
MACHINE=$THERE
check "on another machine it is refused, with the ways out" refused "tidegate-admin adopt"
check "the other way out is told, too" grep -qF "tidegate-admin new-identity" "$WORK/refused.log"
check "it was moved there: adopt" admin adopt
check "its UUID stays" test "$(stat_of .uuid)" = "$east"
check "it delivers" delivers
check "all under that UUID" has_arrived east "$east" 1 5
MACHINE=$HERE
check "where it was it is refused now" refused "tidegate-admin adopt"
MACHINE=$THERE
as west journal
check "the gateway gets another name: adopt" admin adopt
check "more records" feed 5
check "they are delivered" delivers
check "under the new name and the same UUID" has_arrived west "$east" 6 10

# ---- cloned: both go on ----

as east image
MACHINE=$HERE
check "a journal with a backlog" feed 5
image=$(stat_of .uuid)
copy_of image clone
as east clone
MACHINE=$THERE
check "its clone on another machine is refused" refused "tidegate-admin new-identity"
as north clone
check "the clone gets an identity of its own" admin new-identity
clone=$(stat_of .uuid)
check "another UUID" test "$clone" != "$image"
check "the original's is its parent" test "$(stat_of .parent)" = "$image"
check "the clone delivers" delivers
check "and goes on" feed 3
check "with what comes" delivers
as east image
MACHINE=$HERE
check "so does the original" delivers
check "and goes on, too" feed 3
check "with what comes" delivers
check "the original's are told by its UUID" has_arrived east "$image" 1 8
check "the clone's by its own, under the same sequences" has_arrived north "$clone" 1 8

# ---- restored from a backup, while the original's records are in Kafka already ----

as east live
check "a journal with a backlog" feed 5
live=$(stat_of .uuid)
check "a backup of it" admin backup "$WORK/backup.mdb"
check "it delivers" delivers
check "and goes on" feed 5
check "with what comes" delivers
mkdir -p "$WORK/restored"
cp "$WORK/backup.mdb" "$WORK/restored/data.mdb"
as east restored
check "the backup has a UUID of its own" test "$(stat_of .uuid)" != "$live"
check "the original's is its parent" test "$(stat_of .parent)" = "$live"
backup=$(stat_of .uuid)
check "it is taken on the same machine" delivers
restored=$(stat_of .uuid)
check "whoever works with it first gives it another" test "$restored" != "$backup"
check "and the parent stays" test "$(stat_of .parent)" = "$live"
check "and goes on" feed 5
check "with what comes" delivers
check "the original's records" has_arrived east "$live" 1 10
check "nothing of the backup is skipped, nothing taken for the original's" \
	has_arrived east "$restored" 1 10

# ---- a machine without an id, as in a container ----

as south container
MACHINE=none
check "a journal made where there is no machine-id" feed 5
check "it delivers there" delivers
check "more records" feed 1
MACHINE=$HERE
check "it is taken where there is one" delivers
as south container2
check "one made where there is one" feed 5
MACHINE=none
check "is taken where there is none" delivers
tap_done
