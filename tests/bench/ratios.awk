#!/usr/bin/awk -f
# SPDX-License-Identifier: Apache-2.0
#
# ratios.awk -v count=N -v base=NAME -v ours=NAME [-v row=NAME]: lines with two times in
# seconds, those of base and of ours in one run; prints rates and their ratio.

function median(v, n,   i, j, t) {
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && v[j] < v[j - 1]; j--) {
			t = v[j]
			v[j] = v[j - 1]
			v[j - 1] = t
		}
	return v[int(n / 2) + 1]
}

NF == 2 && $1 > 0 && $2 > 0 {
	n++
	a[n] = count / $1
	b[n] = count / $2
	ratio[n] = $1 / $2
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
	printf "%-22s %12.0f %12.0f %12.0f %12.0f %8.2f %8.2f\n", row, a[n], am, b[n], bm, \
		b[n] / a[n], rm
}
