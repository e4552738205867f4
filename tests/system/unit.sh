#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The service and the template, as systemd reads them: without a complaint, with what they
# deny to the programs, and the same in both.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need systemd-analyze "$TOP_BUILDDIR/tidegated"

SERVICE=$WORK/tidegate.service
TEMPLATE=$WORK/tidegate@north.service

# from_build FILE AS: with the programs of this build
from_build() {
	sed "s|^ExecStart=[^ ]*|ExecStart=$TOP_BUILDDIR/tidegated|" \
		"$TOP_BUILDDIR/packaging/systemd/$1" >"$2" && ! grep -E '@[a-z]+@' "$2"
}

verifies() {
	local out
	out=$(systemd-analyze verify --man=no "$1" 2>&1) || { echo "$out"; return 1; }
	# What it says of the machine's other units is no fault of this one.
	! printf '%s\n' "$out" | grep -F "${1##*/}"
}

# scores UNIT: at most 2.0, by systemd's own count
scores() {
	systemd-analyze security --offline=yes --threshold=20 --no-pager "$1" >"$WORK/score"
	local rc=$?
	echo "# $(grep -o 'exposure level.*' "$WORK/score")"
	[ "$rc" -eq 0 ] || grep '^✗' "$WORK/score"
	return "$rc"
}

# From what is written about it on, and without what names the instance.
settings() {
	sed -e '1,/^\[Service\]/d' -e '/^#/d' -e '/^ExecStart=/d' -e 's|^\(StateDirectory=tidegate\).*|\1|' "$1"
}

same_settings() {
	diff <(settings "$SERVICE") <(settings "$TEMPLATE")
}

check "the service is whole" from_build tidegate.service "$SERVICE"
check "the template is whole" from_build tidegate@.service "$TEMPLATE"
check "systemd understands the service" verifies "$SERVICE"
check "and the template" verifies "$TEMPLATE"
check "the service scores 2.0 at most" scores "$SERVICE"
check "so does the template" scores "$TEMPLATE"
check "both say the same" same_settings
tap_done
