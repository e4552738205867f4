#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compile the fuzz targets and run each for a while:
#
#   run.sh [-t SECONDS] [NAME...]      NAME as in fuzz_NAME.c; all without one
#
# A target names the files of src that it needs in a line "/* sources: a.c b.c */".
# Seeds lie in corpus/NAME. What the fuzzer finds stays in the directory that is told
# on failure. CLANG names another compiler. Exit 77: there is none that can fuzz.
set -u

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
seconds=10
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
read -ra libraries < <(pkg-config --cflags --libs libconfig jansson zlib libzstd "$msgpack")

# Compile and run one target.
fuzz() {
	local name=$1 file=$here/fuzz_$1.c corpora=(found) names
	read -ra names < <(sed -n 's|^/\* sources: \(.*\) \*/$|\1|p' "$file")
	if [ -d "$here/corpus/$name" ]; then
		corpora+=("$here/corpus/$name")
	fi
	mkdir -p "$work/$name/found"
	"$clang" -std=c11 -D_GNU_SOURCE -DLOCALSTATEDIR='"/var"' -g -O1 -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all -I"$top/include" -I"$top/src" "$file" "${names[@]/#/$top/src/}" \
		-Wl,--as-needed "${libraries[@]}" -o "$work/$name/fuzz" || return 1
	# New inputs go to the first directory; the seeds stay as they are.
	(cd "$work/$name" && ./fuzz -max_total_time="$seconds" -timeout=10 \
		-rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1 \
		"${corpora[@]}") >"$work/$name/log" 2>&1
}

if [ $# -eq 0 ]; then
	for file in "$here"/fuzz_*.c; do
		file=${file##*/fuzz_}
		set -- "$@" "${file%.c}"
	done
fi
failed=0
number=0
echo "1..$#"
for name; do
	number=$((number + 1))
	if fuzz "$name"; then
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
