# shellcheck shell=bash
# shellcheck disable=SC2154
# SPDX-License-Identifier: Apache-2.0
#
# Certificates for the tests, made on the spot in $WORK/certs: NAME.pem and NAME.key.
# Sourced behind common.sh. Each function returns 1 on failure; openssl's words are in
# $WORK/certs.log.

CERTS=$WORK/certs

# make_authority NAME
make_authority() {
	mkdir -p "$CERTS"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 \
		-subj "/O=Tidegate tests/CN=$1" -keyout "$CERTS/$1.key" -out "$CERTS/$1.pem" \
		2>>"$WORK/certs.log"
}

# make_certificate NAME AUTHORITY ALTERNATIVE-NAMES [FROM UNTIL]: the names as openssl has
# them ("DNS:localhost,IP:127.0.0.1"; "": none), the times as YYYYMMDDHHMMSSZ
make_certificate() {
	local name=$1 authority=$2 names=$3
	local from=${4:-$(date -u -d yesterday +%Y%m%d%H%M%SZ)}
	local until=${5:-$(date -u -d '90 days' +%Y%m%d%H%M%SZ)}
	local state=$CERTS/$authority.state
	mkdir -p "$state/new"
	: >>"$state/index"
	cat >"$state/$name.conf" <<-EOT
		[ca]
		default_ca = one
		[one]
		database = $state/index
		new_certs_dir = $state/new
		rand_serial = yes
		default_md = sha256
		policy = any
		unique_subject = no
		[any]
		organizationName = optional
		commonName = supplied
		[extensions]
		basicConstraints = CA:FALSE
		${names:+subjectAltName = $names}
	EOT
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
		-subj "/O=Tidegate tests/CN=$name" -keyout "$CERTS/$name.key" \
		-out "$state/$name.csr" 2>>"$WORK/certs.log" &&
		openssl ca -batch -notext -config "$state/$name.conf" -extensions extensions \
			-cert "$CERTS/$authority.pem" -keyfile "$CERTS/$authority.key" \
			-startdate "$from" -enddate "$until" -in "$state/$name.csr" \
			-out "$CERTS/$name.pem" >>"$WORK/certs.log" 2>&1
}
