#!/usr/bin/awk -f
# SPDX-License-Identifier: Apache-2.0
#
# summary.awk RATIOS.TSV: what `make bench` has found, as a table: each figure with what it
# is held against, the ratio of the best runs and the median of the ratios, and whether the
# best meets the target. Where drain and forward have told their processor time, the two
# together as well; its median is that of the two, weighed by what they are held against.
# -v plain=1: without a heading, by tabs: figure, best, median, target, met.

BEGIN {
	FS = OFS = "\t"
	form = "%-58s %11s %11s %7s %7s %8s  %s\n"
}

function number(v) {
	return sprintf(v >= 1000 ? "%.0f" : "%.4g", v)
}

function met(ratio, target) {
	if (target ~ /^>=/)
		return ratio >= substr(target, 3) + 0 ? "yes" : "no"
	if (target ~ /^<=/)
		return ratio <= substr(target, 3) + 0 ? "yes" : "no"
	return ""
}

function row(name, unit, base, ours, best, median, target) {
	if (plain) {
		print name, sprintf("%.3g", best), sprintf("%.3g", median), target, \
			met(best, target)
		return
	}
	if (!n++)
		printf form, "figure", "base", "ours", "best", "median", "target", "met"
	printf form, name (unit == "" ? "" : ", " unit), number(base), number(ours), \
		sprintf("%.3f", best), sprintf("%.3f", median), target == "-" ? "" : target, \
		met(best, target)
}

NF == 7 {
	row($1, $2, $3, $4, $5, $6, $7)
	if ($1 == "cpu drain" || $1 == "cpu forward") {
		base[$1] = $3
		ours[$1] = $4
		median[$1] = $6
	}
}

END {
	d = "cpu drain"
	f = "cpu forward"
	if ((d in base) && (f in base)) {
		sum = base[d] + base[f]
		row("cpu per million, ingest + forward", "s", sum, ours[d] + ours[f], \
			(ours[d] + ours[f]) / sum, \
			(base[d] * median[d] + base[f] * median[f]) / sum, "<=1.0")
	}
}
