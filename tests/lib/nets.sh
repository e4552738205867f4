# shellcheck shell=bash
# shellcheck disable=SC2154
# SPDX-License-Identifier: Apache-2.0
#
# Networks with metered links, for a script that is in a network namespace of its own:
# NAME's network has two links to the script's, kafka and mqtt, and reaches 127.0.0.1 here
# by the one, 127.0.0.2 by the other. $SILENT is where nobody answers and nobody says so.
# Nothing but IPv4, and nobody asks who has an address: no packets but those we look for.
# Segments are as large as a packet. Sourced behind common.sh.

declare -A NET=()    # the number of NAME's network
declare -A HOLDER=() # the process that holds it
SILENT=10.99.0.1

is_elsewhere() {
	[ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

begin_nets() {
	[ ! -d /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
	echo 0 >/proc/sys/net/ipv4/ip_forward
	ip link set lo up
}

# What runs in the new network; $1 is its number.
# shellcheck disable=SC2016
NEAR_NET='
	[ ! -d /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
	for link in kafka:77 mqtt:78; do
		net=10.${link#*:}.$1 link=${link%:*}
		echo 1 >/proc/sys/net/ipv4/conf/$link/route_localnet
		ip addr add $net.2/30 dev $link && ip link set $link up &&
			ip neigh add $net.1 lladdr 02:00:00:00:00:01 dev $link nud permanent ||
			exit
	done
	ip route add 127.0.0.1 via 10.77.$1.1 src 10.77.$1.2 &&
		ip route add 127.0.0.2 via 10.78.$1.1 src 10.78.$1.2 &&
		ip route add default via 10.77.$1.1'

# make_net NAME: here its links are kN and mN
make_net() {
	local n=$((${#NET[@]} + 1)) pid link name here
	unshare --net sleep infinity &
	pid=$!
	track $pid
	wait_for 5 is_elsewhere $pid || return 1
	NET[$1]=$n
	HOLDER[$1]=$pid
	for link in kafka:77 mqtt:78; do
		name=${link:0:1}$n
		here=10.${link#*:}.$n
		ip link add name "$name" address 02:00:00:00:00:01 gso_max_segs 1 type veth \
			peer name "${link%:*}" address 02:00:00:00:00:02 gso_max_segs 1 netns $pid &&
			echo 1 >"/proc/sys/net/ipv4/conf/$name/route_localnet" &&
			ip addr add "$here.1/30" dev "$name" && ip link set "$name" up &&
			ip neigh add "$here.2" lladdr 02:00:00:00:00:02 dev "$name" nud permanent ||
			return 1
	done
	nsenter -t $pid -n sh -c "$NEAR_NET" sh "$n"
}

# in_net NAME COMMAND...: not behind it with &: that would be the pid of a shell
in_net() {
	local pid=${HOLDER[$1]}
	shift
	nsenter -t "$pid" -n "$@"
}

# cut_net NAME: from now on what it sends arrives, and nothing comes back
cut_net() {
	ip route add blackhole "10.77.${NET[$1]}.2/32"
}

# net_counts NAME: of kafka, then of mqtt: bytes up, packets up, bytes down, packets down,
# as IP has them, without the 14 bytes of an Ethernet header; connects; SYNs
net_counts() {
	local proc=/proc/${HOLDER[$1]}/net
	awk '
		FILENAME ~ /dev$/ { sub(":", " ") }
		$1 == "kafka" || $1 == "mqtt" {
			at[$1] = $10 - 14 * $11 " " $11 " " $2 - 14 * $3 " " $3
		}
		$1 == "Tcp:" && $2 ~ /[0-9]/ { connects = $6 }
		$1 == "TcpExt:" && $2 !~ /[0-9]/ {
			for (i = 2; i <= NF; i++)
				if ($i == "TCPSynRetrans")
					column = i
		}
		$1 == "TcpExt:" && $2 ~ /[0-9]/ { again = $column }
		END { print at["kafka"], at["mqtt"], connects, connects + again }' \
		"$proc/dev" "$proc/snmp" "$proc/netstat"
}

# is_quiet NAME...: nothing goes over a link for a moment
is_quiet() {
	local name before
	before=$(for name; do net_counts "$name"; done)
	sleep 0.3
	[ "$before" = "$(for name; do net_counts "$name"; done)" ]
}

# The counters are believed only when they say of 100 bytes by UDP that they are 128 by IP.
check_counters() {
	local before after
	make_net probe && before=$(net_counts probe) || return 1
	in_net probe bash -c "printf %0100d 0 >/dev/udp/$SILENT/9"
	after=$(net_counts probe)
	[ "${after%% *}" -eq $((${before%% *} + 128)) ] && return 0
	echo "128 bytes made $after of $before" >&2
	return 1
}
