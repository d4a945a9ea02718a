"""What a hostile worker does, as its Unix user: python hostile_worker.py RUN DOORS UID files|commands|own|tape|system."""

import ctypes
import json
import os
import resource
import socket
import sys
import time
from pathlib import Path

import msgspec
import zmq

from engine.common.ids import ClOrdIDs
from engine.messages import commands, control

PTRACE_ATTACH = 16
RUN, DOORS, UID, WHAT = sys.argv[1:5]
ENCODE = msgspec.msgpack.Encoder().encode
CHANNELS = (
    "guard.orders",
    "oe.orders",
    "oe.ask",
    "md.ask",
    "control",
    "venue.ask",
    "dc.ask",
    "oe.tape",
    "md.feed",
)
OTHERS = (
    "strategy.momentum_taker",
    "tool.ctl.1",
    "guard",
    "order_entry",
    "drop_copy",
    "supervisor",
    "evil",
    "",
)
ids = ClOrdIDs(2, 1_700_000_000_000, 5)  # the other strategy's slot
mine = ClOrdIDs(1, 1_700_000_000_000, 6)


def new(make=ids):
    return commands.NewOrder(
        cl_ord_id=make(), symbol="BTC-PERP", side=1, qty=100, price=190_000, made_ns=time.monotonic_ns()
    )


def messages():
    """Everything that somebody would like to get accepted."""
    yield new()
    yield commands.Halt(request_id="h", why="hostile", who="evil")
    yield commands.Arm(
        request_id="a", why="hostile", who="evil", accept_gap=True, positions={"BTC-PERP": 10_000}
    )
    yield commands.CancelAll()
    yield commands.Flatten(request_id="f", who="evil")
    yield commands.Approved(epoch=1, no=1, expires_ns=time.monotonic_ns() + 10**9, strategy=2, request=new())
    yield commands.HaltOrders(epoch=1, why="hostile")
    yield control.StopEngine(request_id="s", why="hostile")
    yield control.RestartProcess(request_id="r", name="guard")
    yield control.Heartbeat(name="guard", pid=1, mono_ns=1, status=control.Status(state="TRADING"))


def files():
    """Try to read or enter everything of the run directory that is known by name."""
    paths = [
        RUN,
        f"{RUN}/bus",
        f"{RUN}/config.json",
        f"{RUN}/lock",
        f"{RUN}/state",
        f"{RUN}/logs",
        f"{RUN}/venue",
    ]
    paths += [f"{RUN}/state/{name}.sqlite" for name in ("order_entry", "guard", "drop_copy", "venue")]
    paths += [f"{RUN}/bus/{name}" for name in CHANNELS] + [
        f"{RUN}/config.strategy.quote_maker.json",
        f"{RUN}/venue/ca.pem",
    ]
    opened = []
    for path in paths:
        for attempt in (
            lambda p=path: os.listdir(p),
            lambda p=path: open(p, "rb").close(),
            lambda p=path: open(p, "ab").close(),
        ):
            try:
                attempt()
            except OSError:
                continue
            opened.append(path)
    try:
        os.listdir(DOORS)
        opened.append(DOORS)
    except OSError:
        pass
    return {"opened": opened, "tried": len(paths)}


def refused_connects(count):
    paths = [f"{RUN}/bus/{name}" for name in CHANNELS] + [f"{DOORS}/002.{name}" for name in CHANNELS]
    refused = 0
    for number in range(count):
        with socket.socket(socket.AF_UNIX) as raw:
            try:
                raw.connect(paths[number % len(paths)])
            except OSError:
                refused += 1
    return refused


def hostile_commands():
    connects = 10_000
    refused = refused_connects(connects)
    context = zmq.Context()
    sent, made, sockets = 0, [], []
    for channel in ("guard.orders", "control", "oe.ask", "md.ask"):
        for name in OTHERS:
            peer = context.socket(zmq.DEALER)
            if name:
                peer.setsockopt(zmq.ROUTING_ID, name.encode())
            peer.setsockopt(zmq.LINGER, 2000)
            peer.setsockopt(zmq.SNDTIMEO, 2000)
            peer.connect(f"ipc://{DOORS}/001.{channel}")
            sockets.append(peer)
    while sent < 10_240:
        for peer in sockets:
            for message in messages():
                peer.send(ENCODE(message))
                sent += 1
                request = getattr(message, "request", message)
                if isinstance(request, commands.NewOrder):
                    made.append(request.cl_ord_id)
    deadline = time.monotonic() + 2
    answers = 0
    while time.monotonic() < deadline:
        answers += sum(peer.poll(10) != 0 for peer in sockets[:8])
    for peer in sockets:
        peer.close()
    context.term()
    return {
        "connects": connects,
        "connects_refused": refused,
        "commands": sent,
        "answers": answers,
        "ids": made,
    }


def under_its_own_name():
    context = zmq.Context()
    peer = context.socket(zmq.DEALER)
    peer.setsockopt(zmq.ROUTING_ID, b"strategy.quote_maker")
    peer.connect(f"ipc://{DOORS}/001.guard.orders")
    decode = msgspec.msgpack.Decoder(commands.IntentAnswer).decode
    peer.send(ENCODE(new()))
    peer.send(ENCODE(commands.CancelOrder(cl_ord_id=mine(), orig_cl_ord_id=ids(), symbol="BTC-PERP", side=1)))
    peer.send(ENCODE(commands.Halt(request_id="h", why="hostile", who="evil")))
    peer.send(ENCODE(commands.CancelAll(strategy=2)))
    controls = []
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        if peer.poll(100):
            answer = decode(peer.recv())
            if isinstance(answer, commands.Refused):
                controls.append(answer.control)
    peer.close(0)
    context.term()
    return {"controls": controls}


def tape():
    """Subscribe to everything on the order tape; return the topics that come."""
    context = zmq.Context()
    peer = context.socket(zmq.SUB)
    peer.setsockopt(zmq.SUBSCRIBE, b"")
    peer.connect(f"ipc://{DOORS}/001.oe.tape")
    topics = {}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and sum(topics.values()) < 400:
        if peer.poll(100):
            topic = peer.recv().split(b"\0")[0].decode()
            topics[topic] = topics.get(topic, 0) + 1
    peer.close(0)
    context.term()
    return {"topics": topics}


def system():
    """Whatever the system might let it do to root's processes, named by their pids, and to the run directory's place."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = []
    for pid in map(int, sys.argv[5:]):
        attempts = {
            "signal": lambda p=pid: os.kill(p, 0),
            "affinity": lambda p=pid: os.sched_setaffinity(p, {0}),
            "nice": lambda p=pid: os.setpriority(os.PRIO_PROCESS, p, 10),
            "limits": lambda p=pid: resource.prlimit(p, resource.RLIMIT_NOFILE, (3, 3)),
            **{
                name: lambda p=pid, name=name: Path(f"/proc/{p}/{name}").read_bytes()
                for name in ("environ", "maps", "io", "auxv")
            },
            "mem": lambda p=pid: os.close(os.open(f"/proc/{p}/mem", os.O_RDONLY)),
            **{
                name: lambda p=pid, name=name: os.listdir(f"/proc/{p}/{name}")
                for name in ("fd", "cwd", "root", "map_files")
            },
            "oom": lambda p=pid: Path(f"/proc/{p}/oom_score_adj").write_text("1000"),
        }
        for name, attempt in attempts.items():
            try:
                attempt()
            except OSError:
                continue
            done.append((pid, name))
        if libc.ptrace(PTRACE_ATTACH, pid, 0, 0) == 0:
            done.append((pid, "ptrace"))
    for name, attempt in {
        "halt file": lambda: open(f"{RUN}/halt", "w").close(),
        "rename": lambda: os.rename(RUN, f"{RUN}.gone"),
        "link": lambda: os.link(f"{RUN}/config.json", f"/tmp/linked.{os.getpid()}"),
        "doors": lambda: open(f"{DOORS}/000.guard.orders", "w").close(),
        "another's door": lambda: os.unlink(f"{DOORS}/001.guard.orders"),
        "root again": lambda: os.setuid(0),
    }.items():
        try:
            attempt()
        except OSError:
            continue
        done.append((0, name))
    return {"done": done, "pids": len(sys.argv) - 5}


os.setgroups([])
os.setgid(int(UID))
os.setuid(int(UID))
print(
    json.dumps(
        {
            "files": files,
            "commands": hostile_commands,
            "own": under_its_own_name,
            "tape": tape,
            "system": system,
        }[WHAT]()
    )
)
