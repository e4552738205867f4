#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make lint: form, not function. Says one line for each check; exit status 0 all is well,
# 1 something is not, 77 nothing was found but a tool is missing.

set -u
cd "${TOP_SRCDIR:-$(dirname "$0")/..}" || exit 1

failed=0
missing=0

# check WHAT COMMAND...: what it prints is the reason
check() {
	local what=$1 out
	shift
	if out=$("$@" 2>&1 </dev/null); then
		echo "ok      $what"
	else
		echo "FAILED  $what"
		printf '%s\n' "$out" | head -n 40 | sed 's/^/        /'
		failed=$((failed + 1))
	fi
}

# have TOOL WHAT
have() {
	command -v "$1" >/dev/null && return 0
	echo "MISSING $2: there is no $1 here, nothing was checked" >&2
	missing=$((missing + 1))
	return 1
}

sources() {
	find src include tests -name '*.[ch]' | LC_ALL=C sort
}

scripts() {
	grep -rlE '^#!/bin/(ba)?sh|^# shellcheck shell=' quickstart .ci tests packaging 2>/dev/null |
		LC_ALL=C sort
}

# The versions of the tool disagree with one another, so it must be the one that is meant.
formatter() {
	local tool
	for tool in clang-format-14 clang-format; do
		"$tool" --version 2>/dev/null | grep -q 'version 14\.' && echo "$tool" && return
	done
}

is_formatted() {
	sources | xargs "$(formatter)" --dry-run -Werror
}

has_licence() {
	local file rc=0
	while read -r file; do
		head -n 1 "$file" | grep -qF '/* SPDX-License-Identifier: Apache-2.0 */' && continue
		echo "$file: its first line is not the SPDX line"
		rc=1
	done < <(sources)
	return $rc
}

is_good_shell() {
	scripts | xargs shellcheck
}

is_good_man() {
	local out
	# A page that is not installed here is not an error of the page that names it.
	out=$(mandoc -T lint -W style packaging/man/*.[1578] 2>&1 |
		grep -vE 'referenced manual not found|mandoc.db lacks')
	printf '%s\n' "$out"
	[ -z "$out" ]
}

# Each option of the shipped configuration has its entry in the man page.
is_documented() {
	local key rc=0
	while read -r key; do
		grep -qE "^\.(It|Ss).*\b$key\b" packaging/man/tidegate.conf.5 && continue
		echo "$key is not in tidegate.conf(5)"
		rc=1
	done < <(sed -nE 's/^[[:space:]]*#?\t*([a-z_]+) = .*/\1/p' etc/tidegate.conf)
	return $rc
}

# one_file HEADER FILE: no other file of the programs includes it
one_file() {
	local out
	out=$(grep -rlE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$1[>\"]" src include |
		grep -vxE "$2")
	printf '%s\n' "$out"
	[ -z "$out" ]
}

# version FILE EXPRESSION: the first that sed finds
version() {
	sed -nE "s/$2/\\1/p" "$1" | head -n 1
}

is_one_version() {
	local want news changelog spec
	want=$(version configure.ac '^AC_INIT\(\[tidegate\], \[([^]]*)\].*')
	news=$(version NEWS.md '^## ([0-9][0-9.]*).*')
	changelog=$(version packaging/debian/changelog '^tidegate \(([^-]*)-.*')
	spec=$(version packaging/rpm/tidegate.spec '^Version:[[:space:]]*(.*)')
	echo "configure.ac $want, NEWS.md $news, debian/changelog $changelog, spec $spec"
	[ -n "$want" ] && [ "$want" = "$news" ] && [ "$want" = "$changelog" ] &&
		[ "$want" = "$spec" ]
}

if [ -n "$(formatter)" ]; then
	check "C is formatted (make format)" is_formatted
else
	have clang-format-14 "C is formatted"
fi
check "each C file says its licence" has_licence
have shellcheck "shell" && check "shell" is_good_shell
have mandoc "man pages" && check "man pages" is_good_man
check "each option is in the man page" is_documented
while read -r header file; do
	check "<$header> only in $file" one_file "$header" "$file"
done <<'EOT'
mosquitto\.h src/ingest/mqtt_(client|client_loss|message)\.c
openssl/.*\.h src/(certificate|ingest/mqtt_tls)\.c
microhttpd\.h src/monitor/http\.c
lmdb\.h src/journal/store(_[a-z]+)?\.[ch]
msgpack(/.*)?\.h src/record\.c
librdkafka/rdkafka.*\.h src/kafka/kafka_(backoff|check_parts|conf|position|position_parts|producer|report|resolver|result|sent|sink|topics|transaction|transaction_parts)\.[ch]
libconfig\.h src/settings/settings\.c
systemd/.*\.h src/notify\.c
libdeflate\.h src/batch\.c
zstd\.h src/batch\.c
jansson\.h src/(check|log|payload_json|status|forward/position|monitor/page_events)\.c
EOT
check "the version is the same everywhere" is_one_version

[ $failed -eq 0 ] || exit 1
[ $missing -eq 0 ] || exit 77
