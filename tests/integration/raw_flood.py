"""A worker gone wrong that needs no engine to be one: a bare socket that floods an endpoint under a name.

python raw_flood.py RUN NAME SECONDS PER_SECOND: prints how many it sent. It has the seal, as a worker's own code would.
"""

import sys
import time

import zmq

from engine.bus.sockets import endpoint, seal_of

INTENT = (
    b"\x86\xa4type\xa3new\xa9cl_ord_id\xa1x\xa6symbol\xa8BTC-PERP\xa4side\x01\xa3qty\x64\xa5price\xcd\x03\xe8"
)


def main():
    run, name, seconds, per_s = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.ROUTING_ID, name.encode() + seal_of(run))
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDTIMEO, 1000)
    socket.connect(endpoint(run, "guard.orders"))
    began = time.monotonic()
    sent = 0
    while (passed := time.monotonic() - began) < seconds:
        for _ in range(min(int(passed * per_s) - sent, 1000)):
            try:
                socket.send(INTENT)
            except zmq.Again:
                break
            sent += 1
        time.sleep(0.001)
    print(sent, flush=True)
    socket.close()
    context.term()


if __name__ == "__main__":
    main()
