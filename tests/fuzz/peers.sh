#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Each worker against a peer that speaks nonsense, from a seed: tidegate-ingest against a
# broker, tidegate-forward against Kafka. They keep running and lose nothing.
#
#   peers.sh [-t SECONDS] [-s SEED]      10 seconds each without
#
# TOP_BUILDDIR says where the programs are; those that were built with sanitizers find more.
# Exit status 0, 1, or 77 where a program is missing that the test needs.
set -u

here=$(cd "$(dirname "$0")" && pwd)
export TOP_SRCDIR=${TOP_SRCDIR:-$(cd "$here/../.." && pwd)}
export TOP_BUILDDIR=${TOP_BUILDDIR:-$PWD}
seconds=10
seed=$((RANDOM * 32768 + RANDOM))
while getopts t:s: option; do
	case $option in
	t) seconds=$OPTARG ;;
	s) seed=$OPTARG ;;
	*) exit 2 ;;
	esac
done
command -v python3 >/dev/null || exit 77
failed=0
"$here/peer_mqtt.py" -t "$seconds" -s "$seed" || failed=1
"$here/peer_kafka.sh" -t "$seconds" -s "$seed" || failed=1
exit $failed
