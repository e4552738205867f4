#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The RPM, built from the dist tarball. There is no Fedora here to install it in: looked at
# are its contents, what it asks for, and that its programs run.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need rpmbuild rpm rpm2cpio cpio

# Debian's libraries have no names that rpm knows, hence --nodeps.
build_rpm() {
	env -u MAKEFLAGS -u MAKELEVEL -u TESTS make -C "$TOP_BUILDDIR" rpm RPMBUILDFLAGS='--nodeps --nocheck' \
		>"$WORK/build.log" 2>&1 &&
		RPM=$(find "$TOP_BUILDDIR/_rpm/RPMS" -name 'tidegate-[0-9]*.rpm')
}

has_file() {
	rpm -qlp "$RPM" 2>/dev/null | grep -qx "$1"
}

is_config() {
	rpm -qcp "$RPM" 2>/dev/null | grep -qx /etc/tidegate/tidegate.conf
}

asks_for() {
	rpm -qRp "$RPM" 2>/dev/null | grep -q "^$1"
}

journal_directory_is_the_users() {
	rpm -qp --qf '[%{FILENAMES} %{FILEUSERNAME} %{FILEMODES:perms}\n]' "$RPM" 2>/dev/null |
		grep -qx '/var/lib/tidegate tidegate drwxr-x---'
}

unpack() {
	mkdir "$WORK/root" && rpm2cpio "$RPM" | (cd "$WORK/root" && cpio -idm --quiet)
}

build_rpm || bail "make rpm"
ok "make rpm"
for file in /usr/sbin/tidegated /usr/bin/tidegate-dump /usr/bin/tidegate-admin \
	/usr/libexec/tidegate/tidegate-ingest /usr/libexec/tidegate/tidegate-forward \
	/usr/lib/systemd/system/tidegate.service /usr/lib/sysusers.d/tidegate.conf; do
	check "$file is in it" has_file "$file"
done
check "the configuration is marked as such" is_config
check "the journal's directory belongs to its user" journal_directory_is_the_users
for library in liblmdb librdkafka libmosquitto libmsgpackc libconfig libzstd libz; do
	check "it asks for $library" asks_for "$library"
done
check "it can be unpacked" unpack
check "tidegated runs" "$WORK/root/usr/sbin/tidegated" --version
check "tidegate-dump runs" "$WORK/root/usr/bin/tidegate-dump" --version
check "its shipped configuration is read" "$WORK/root/usr/sbin/tidegated" --print-config \
	-c "$WORK/root/etc/tidegate/tidegate.conf"
tap_done
