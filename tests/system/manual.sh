#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The manual knows what the programs know: every option that --help names, every setting
# with its default, and every name and number of the journal's headers. No broker and no
# Kafka.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need python3 "$TOP_BUILDDIR/tidegated" "$TOP_BUILDDIR/tidegate-monitor"

MAN=$TOP_SRCDIR/packaging/man

says() {
	python3 "$TOP_SRCDIR/tests/lib/check_manual.py" "$@"
}

# options PROGRAM PAGE
options() {
	"$TOP_BUILDDIR/$1" --help >"$WORK/help" && says options "$MAN/$2" <"$WORK/help"
}

settings() {
	"$TOP_BUILDDIR/tidegated" -c "$WORK/least.conf" --print-config >"$WORK/settings" &&
		says settings "$MAN/tidegate.conf.5" <"$WORK/settings"
}

cat >"$WORK/least.conf" <<'END'
gateway_id = "site-17";
routes = ( { name = "default"; topic_filters = [ "#" ]; topic = "x"; } );
END

check "every option of tidegated" options tidegated tidegated.8
check "every option of tidegate-dump" options tidegate-dump tidegate-dump.1
check "every option of tidegate-admin" options tidegate-admin tidegate-admin.1
for worker in ingest forward monitor; do
	check "every option of tidegate-$worker" options tidegate-$worker tidegated.8
done
check "every setting, with its default" settings
# Of README.md: what stands between ```libconfig and ```.
awk -v to="$WORK/readme" '/^```libconfig/ { n++; on = 1; next } /^```/ { on = 0 }
	on { print > (to n ".conf") }' "$TOP_SRCDIR/README.md"
check "README.md has two configurations" test -s "$WORK/readme2.conf"
for file in "$WORK"/readme*.conf; do
	check "$(basename "$file" .conf): a configuration that passes" \
		"$TOP_BUILDDIR/tidegated" -t -c "$file"
done
check "every name and number of the journal" \
	says journal "$MAN/tidegate-journal.5" "$TOP_SRCDIR"
tap_done
