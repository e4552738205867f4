#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a service manager hears: prints each message of sd_notify(3) on a line, with the
number of the process that sent it, and | between its fields.

Usage: service_manager.py SOCKET [deaf]     deaf: it reads nothing
"""

import signal
import socket
import struct
import sys

receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
receiver.bind(sys.argv[1])
if "deaf" in sys.argv[2:]:
    signal.pause()
while True:
    data, ancillary, _, _ = receiver.recvmsg(65536, socket.CMSG_SPACE(12))
    pid = next(struct.unpack("iii", c[2])[0] for c in ancillary)
    print(pid, data.decode().replace("\n", "|"), flush=True)
