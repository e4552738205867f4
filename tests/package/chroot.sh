# shellcheck shell=bash
# Functions that tests call:
# shellcheck disable=SC2034,SC2317
# SPDX-License-Identifier: Apache-2.0
#
# What the package tests have in common; sourced after common.sh, never run:
#   need_chroot        skips the whole test where none of this can be had
#   private_network    the test goes on in a network of its own that has but a loopback, so
#                      that the usual ports are free; online COMMAND is outside of it
#   shared_deb         builds the Debian package, once for all tests of a build tree
#   chroot_make DIR    a small Debian 12 with systemd; made once, kept as a tar file
#   chroot_run DIR COMMAND...   there, without a systemd; can reach the package mirror
#   chroot_download DIR PACKAGE...   apt is to find these, and what they need, offline
#   boot_start DIR     a real systemd as the first process of namespaces of its own
#   boot_run COMMAND...  in what was booted;  boot_end  ends all of it
# Several tests may use the same build tree at the same time.

SUITE=bookworm
CHROOT_CACHE=$TOP_BUILDDIR/_chroot

need_chroot() {
	need chroot debootstrap dpkg-buildpackage flock ip jq nsenter unshare
	[ "$(id -u)" -eq 0 ] || skip_all "only root can make a chroot"
	unshare -m -n -p -f -C true 2>/dev/null || skip_all "namespaces of one's own are not allowed here"
	[ -n "$(apt_sources)" ] || skip_all "this machine's apt has no $SUITE"
}

# The process is made anew in the other network: the first thing that a test does.
private_network() {
	if [ -z "${TIDEGATE_PRIVATE_NETWORK:-}" ]; then
		rm -rf "$WORK"
		exec 5</proc/self/ns/net
		TIDEGATE_PRIVATE_NETWORK=1 exec unshare -n "$0" "$@"
	fi
	ip link set lo up
}

# online COMMAND...: in the network that the test came from
online() {
	if [ -n "${TIDEGATE_PRIVATE_NETWORK:-}" ]; then
		nsenter --net=/proc/self/fd/5 "$@"
	else
		"$@"
	fi
}

# locked COMMAND...: one after the other in this build tree
locked() {
	local lock rc
	mkdir -p "$CHROOT_CACHE" && exec {lock}>"$CHROOT_CACHE/lock" &&
		flock -w 900 "$lock" || return 1
	"$@" {lock}>&-
	rc=$?
	exec {lock}>&-
	return $rc
}

# ---- the package ----

# What the tarball holds, as one number.
sources_sum() {
	make -s -C "$TOP_BUILDDIR" distdir >/dev/null || return 1
	(cd "$TOP_BUILDDIR"/tidegate-[0-9]*/ && find . -type f -print0 | LC_ALL=C sort -z |
		xargs -0 sha256sum | sha256sum)
	rm -rf "$TOP_BUILDDIR"/tidegate-[0-9]*/
}

# The unit tests have run before, also from the tarball (make distcheck).
build_deb() {
	local sum
	unset MAKEFLAGS MAKELEVEL TESTS
	sum=$(sources_sum) || return 1
	[ "$(cat "$CHROOT_CACHE/deb.sum" 2>/dev/null)" = "$sum" ] && return 0
	rm -f "$CHROOT_CACHE/deb.sum"
	DEB_BUILD_OPTIONS=nocheck make -C "$TOP_BUILDDIR" deb || return 1
	rm -rf "$CHROOT_CACHE/deb" && mkdir "$CHROOT_CACHE/deb" &&
		cp "$TOP_BUILDDIR"/_deb/tidegate*_* "$CHROOT_CACHE/deb/" &&
		echo "$sum" >"$CHROOT_CACHE/deb.sum"
}

# shared_deb: the packages and the file .changes are in $DEB_DIR then, tidegate's is $DEB
shared_deb() {
	(locked build_deb) >"$WORK/build.log" 2>&1 || return 1
	DEB_DIR=$WORK/deb
	cp -r "$CHROOT_CACHE/deb" "$DEB_DIR"
	DEB=$(find "$DEB_DIR" -name 'tidegate_*.deb')
	[ -n "$DEB" ]
}

# ---- a Debian ----

# The packages come from where this machine's apt takes its own.
apt_sources() {
	# shellcheck disable=SC2016 # apt's own
	apt-get indextargets --format '$(CREATED_BY) deb $(SITE) $(RELEASE) $(COMPONENT)' |
		awk -v suite="$SUITE" '$1 == "Packages" && index($4, suite) == 1 &&
			$5 == "main" { sub(/^[^ ]* /, ""); print }' | sort -u
}

make_base() {
	local site new=$CHROOT_CACHE/$SUITE.new
	[ -s "$CHROOT_CACHE/$SUITE.tar" ] && return 0
	site=$(apt_sources | awk -v suite="$SUITE" '$3 == suite { print $2; exit }')
	# What debootstrap mounts goes with its namespace, however it ends: what is removed here
	# never reaches this machine's own files by way of a mount.
	rm -rf --one-file-system "$new"
	online timeout 600 unshare -m --propagation private debootstrap --variant=minbase \
		--include=systemd,systemd-sysv,dbus,sudo "$SUITE" "$new" "$site" &&
		tar -C "$new" -cf "$new.tar" . && mv "$new.tar" "$CHROOT_CACHE/$SUITE.tar" &&
		rm -rf --one-file-system "$new"
}

chroot_make() {
	(locked make_base) >"$WORK/debootstrap.log" 2>&1 || return 1
	mkdir "$1" && tar -C "$1" -xf "$CHROOT_CACHE/$SUITE.tar" || return 1
	rm -rf "$1"/etc/apt/sources.list*
	apt_sources >"$1/etc/apt/sources.list"
	apt-config dump Acquire >"$1/etc/apt/apt.conf.d/99host"
	cp -L /etc/resolv.conf "$1/etc/"
	echo gateway >"$1/etc/hostname"
	printf '127.0.0.1 localhost\n127.0.1.1 gateway\n' >"$1/etc/hosts"
	chroot_run "$1" timeout 120 apt-get -q update >"$WORK/update.log" 2>&1
}

# become_inside DIR COMMAND...: this shell becomes that command in the chroot, with a /proc
# of its own, which goes when the command has ended
become_inside() {
	# shellcheck disable=SC2016 # for the inner shell
	exec nsenter --net=/proc/self/fd/5 unshare -m --propagation private sh -c '
		root=$1
		shift
		mount -t proc proc "$root/proc" && exec chroot "$root" "$@"' - "$@"
}

clean_environment() {
	local dir=$1
	shift
	become_inside "$dir" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive "$@"
}

chroot_run() {
	(
		[ -n "${TIDEGATE_PRIVATE_NETWORK:-}" ] || exec 5</proc/self/ns/net
		clean_environment "$@"
	)
}

chroot_download() {
	local dir=$1
	shift
	chroot_run "$dir" timeout 300 apt-get -q -y --no-install-recommends --download-only \
		install "$@" >>"$WORK/download.log" 2>&1
}

# ---- a real systemd ----

BOOT_PID=

# Runs in the new namespaces: $1 becomes the root.
# shellcheck disable=SC2016 # for the inner shell
BOOT_SCRIPT='
	root=$1
	set -e
	mount --bind "$root" "$root"
	mount -t proc proc "$root/proc"
	mount -t sysfs sysfs "$root/sys"
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
	mount -t tmpfs -o mode=755 tmpfs "$root/dev"
	for device in null zero full random urandom tty; do
		touch "$root/dev/$device"
		mount --bind "/dev/$device" "$root/dev/$device"
	done
	mkdir "$root/dev/pts" "$root/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
	ln -s pts/ptmx "$root/dev/ptmx"
	mount -t tmpfs tmpfs "$root/dev/shm"
	mount -t tmpfs -o mode=755 tmpfs "$root/run"
	mkdir -p "$root/oldroot"
	cd "$root"
	pivot_root . oldroot
	umount -l /oldroot
	exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/sbin/init \
		--log-target=console --unit=multi-user.target'

boot_first_process() {
	local pid
	for pid in /proc/[0-9]*; do
		grep -qs "^PPid:[[:space:]]*$1\$" "$pid/status" || continue
		BOOT_PID=${pid#/proc/}
		return 0
	done
	return 1
}

boot_is_up() {
	case $(boot_run timeout 5 systemctl is-system-running) in
	running | degraded) return 0 ;;
	esac
	return 1
}

# The network is the test's: its ports on the loopback are those of the test.
boot_start() {
	local dir
	dir=$(cd "$1" && pwd)
	unshare -m -p -f -u -i -C --kill-child --propagation private sh -c "$BOOT_SCRIPT" - "$dir" \
		>"$WORK/boot.log" 2>&1 5>&- </dev/null &
	track $!
	wait_for 10 boot_first_process $! && wait_for 60 boot_is_up
}

boot_run() {
	nsenter -t "$BOOT_PID" -m -p -u -i -C -r -w env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# With its first process all others end, and the mounts go.
boot_end() {
	[ -n "$BOOT_PID" ] || return 0
	kill -KILL "$BOOT_PID" 2>/dev/null
	wait_for 10 is_gone "$BOOT_PID"
	BOOT_PID=
}

test_cleanup() {
	boot_end
}
