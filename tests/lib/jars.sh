# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Java programs that tests need, from Maven Central; sourced.

# fetch_jars POM DIR [OPTION...]: what the project needs at run time into DIR, once; the
# options are Maven's. Several tests may come here at the same time: one fetches, the
# others wait. 77: there is no Maven.
fetch_jars() {
	local pom=$1 dir=$2 new="$2.new" try lock
	shift 2
	[ -e "$dir/complete" ] && return 0
	command -v mvn >/dev/null || {
		echo "mvn is missing" >&2
		return 77
	}
	mkdir -p "$(dirname "$dir")" || return 1
	exec {lock}>"$dir.lock"
	flock -w 900 "$lock" || {
		echo "another fetch of the jars does not end" >&2
		return 1
	}
	for try in 1 2 3; do
		[ -e "$dir/complete" ] && break
		rm -rf "$new"
		if timeout 280 mvn -B -q -Dstyle.color=never -f "$pom" dependency:copy-dependencies "$@" \
			-DincludeScope=runtime -DoutputDirectory="$new" >&2 </dev/null; then
			touch "$new/complete" && rm -rf "$dir" && mv "$new" "$dir"
		else
			echo "fetching failed, try $try of 3" >&2
		fi
	done
	exec {lock}>&-
	[ -e "$dir/complete" ]
}
