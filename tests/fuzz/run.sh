#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compile the fuzz targets and run each for a while, as many at a time as there are cores:
#
#   run.sh [-t SECONDS] [NAME...]      NAME as in fuzz_NAME.c; all without one
#
# A target names the files of src that it needs in lines "/* sources: a.c b.c */", and
# in a line "/* seconds: 60 */" how long it runs without -t, where 10 are too few. Seeds
# lie in corpus/NAME. What the fuzzer finds stays in the directory that is told on failure.
# CLANG names another compiler. Exit 77: there is none that can fuzz.
set -u

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
seconds=
while getopts t: option; do
	case $option in
	t) seconds=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

work=$(mktemp -d) || exit 1

find_clang() {
	local candidate
	for candidate in ${CLANG:-clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14}; do
		echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' \
			>"$work/probe.c"
		if "$candidate" -fsanitize=fuzzer,address "$work/probe.c" -o "$work/probe" \
			2>/dev/null; then
			clang=$candidate
			return 0
		fi
	done
	return 1
}

if ! find_clang; then
	echo "no clang with libFuzzer: skipped" >&2
	rm -rf "$work"
	exit 77
fi

if pkg-config --exists msgpack-c; then
	msgpack='msgpack-c'
else
	msgpack='msgpack'
fi
read -ra libraries < <(pkg-config --cflags --libs libconfig jansson libdeflate lmdb libzstd "$msgpack")

# seconds_of NAME
seconds_of() {
	local own
	own=$(sed -n 's|^/\* seconds: \(.*\) \*/$|\1|p' "$here/fuzz_$1.c")
	echo "${seconds:-${own:-10}}"
}

# Compile and run one target; its exit status goes to a file beside its log.
fuzz() {
	local name=$1 file=$here/fuzz_$1.c corpora=(found) names
	read -ra names < <(sed -n 's|^/\* sources: \(.*\) \*/$|\1|p' "$file" | tr '\n' ' ')
	if [ -d "$here/corpus/$name" ]; then
		corpora+=("$here/corpus/$name")
	fi
	mkdir -p "$work/$name/found"
	"$clang" -std=c11 -D_GNU_SOURCE -DLOCALSTATEDIR='"/var"' -g -O1 -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all -I"$top/include" -I"$top/src" "$file" "${names[@]/#/$top/src/}" \
		-Wl,--as-needed "${libraries[@]}" -o "$work/$name/fuzz" >"$work/$name/log" 2>&1 &&
		# New inputs go to the first directory; the seeds stay as they are.
		(cd "$work/$name" && ./fuzz -max_total_time="$(seconds_of "$name")" -timeout=10 \
			-rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1 \
			"${corpora[@]}") >"$work/$name/log" 2>&1
	echo $? >"$work/$name/status"
}

if [ $# -eq 0 ]; then
	for file in "$here"/fuzz_*.c; do
		file=${file##*/fuzz_}
		set -- "$@" "${file%.c}"
	done
fi

# Those that take longest go first: so no core waits long for another in the end.
while read -r _ name; do
	while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
		wait -n
	done
	fuzz "$name" &
done < <(for name; do echo "$(seconds_of "$name") $name"; done | sort -srn -k1,1)
wait

failed=0
number=0
echo "1..$#"
for name; do
	number=$((number + 1))
	if [ "$(cat "$work/$name/status")" = 0 ]; then
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name/log")
		echo "ok $number - $name: $runs runs"
	else
		echo "not ok $number - $name"
		tail -n 40 "$work/$name/log" 2>/dev/null | sed 's/^/# /'
		failed=1
	fi
done
if [ $failed -ne 0 ]; then
	echo "# kept: $work"
	exit 1
fi
rm -rf "$work"
