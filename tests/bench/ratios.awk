#!/usr/bin/awk -f
# SPDX-License-Identifier: Apache-2.0
#
# ratios.awk -v count=N -v base=NAME -v ours=NAME [-v row=NAME] [-v name=NAME -v target=T]:
# lines with two times in seconds, those of base and of ours in one run; prints rates and
# their ratio. With name, and BENCH_OUT in the environment, also a line of ratios.tsv.
# -v costs=1: microseconds for each of count in place of rates; best is the least. With
# count=1000000 that is what stands in the lines, whatever -v unit=UNIT says it is.

function median(v, n,   i, j, t) {
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && v[j] < v[j - 1]; j--) {
			t = v[j]
			v[j] = v[j - 1]
			v[j - 1] = t
		}
	return v[int(n / 2) + 1]
}

function shown(rate) {
	return costs ? 1e6 / rate : rate
}

function compare(base, ours) {
	return costs ? base / ours : ours / base
}

NF == 2 && $1 > 0 && $2 > 0 {
	n++
	a[n] = count / $1
	b[n] = count / $2
	ratio[n] = compare(a[n], b[n])
}

END {
	if (n == 0)
		exit 1
	am = median(a, n)
	bm = median(b, n)
	rm = median(ratio, n)
	if (!quiet)
		printf "%-22s %12s %12s %12s %12s %8s %8s\n", "", base " best", "median", \
			ours " best", "median", "best", "median"
	form = costs ? "%12.2f" : "%12.0f"
	printf "%-22s " form " " form " " form " " form " %8.2f %8.2f\n", row, shown(a[n]), \
		shown(am), shown(b[n]), shown(bm), compare(a[n], b[n]), rm
	if (name != "" && ENVIRON["BENCH_OUT"] != "")
		printf "%s\t%s\t%.7g\t%.7g\t%.3f\t%.3f\t%s\n", name, \
			unit != "" ? unit : costs ? "us/message" : "messages/s", shown(a[n]), shown(b[n]), \
			compare(a[n], b[n]), rm, target != "" ? target : "-" \
			>>(ENVIRON["BENCH_OUT"] "/ratios.tsv")
}
