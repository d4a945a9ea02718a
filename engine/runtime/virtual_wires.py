"""Links of the virtual runtime: connections between the engine's sessions and the venue's listeners.

Bytes keep their order on each way of a connection. A connection ends in one of these ways, as TCP does:

* closed by one end: what that end wrote before arrives, then both ends are told;
* cut, or one end's process died: of what is under way some arrives and the rest is lost, each way by the dice, and the
  last that arrives may be the beginning of a message; then the ends are told;
* half-open (`silence`): nothing arrives any more and nobody is told; only the ends' own clocks find out.
"""

from typing import TYPE_CHECKING, Final

from engine.common.actor import LinkEvent

if TYPE_CHECKING:
    from engine.runtime.virtual import VirtualWorld
    from engine.runtime.virtual_node import Node

LOST_PERCENT: Final = 50


class Pipe:
    """One connection. End 0 connected, end 1 accepted.

    Attributes:
        due, written, arrived, lost_from, rest, shut: of what that end writes: when the last piece arrives, how many pieces
            were written and have arrived, from which on they are lost, how many bytes of that one arrive still, and
            whether it may write any more.
        hears: that end is told of things. silent: half-open.
        tear: how many more writes of end 0 it lives; its last one is under way then; -1: no such thing was ordered.
    """

    __slots__ = ("arrived", "due", "ends", "hears", "lost_from", "rest", "shut", "silent", "tear", "written")

    def __init__(self, ends: tuple[tuple["Node", str], tuple["Node", str]]) -> None:
        self.ends = ends
        self.due = [0, 0]
        self.written = [0, 0]
        self.arrived = [0, 0]
        self.lost_from: list[int | None] = [None, None]
        self.rest = [0, 0]
        self.shut = [False, False]
        self.hears = [True, True]
        self.silent = False
        self.tear = -1


class Wires:
    """All connections of a world."""

    def __init__(self, world: "VirtualWorld") -> None:
        self._world = world
        self._ends: dict[tuple[str, str], tuple[Pipe, int]] = {}
        self._accepted = 0

    def delay(self) -> int:
        """Draw how long bytes are under way."""
        world = self._world
        return world.rng.randint(*world.link_delay_ns)

    def connected(self, name: str, link: str) -> bool:
        """Say whether a session link has a connection."""
        return (name, link) in self._ends

    def open(self, node: "Node", link: str) -> None:
        """Connect a session link to the venue's listener, or refuse."""
        world = self._world
        session = getattr(world.config.sessions, link)
        venue = world.nodes["venue"]
        if venue.actor is None or (node.name, link) in self._ends:
            node.step(link, lambda a, now: a.on_link(link, LinkEvent.REFUSED, "connection refused", now))
            return
        self._accepted += 1
        name = f"{session.target_comp_id}/{self._accepted}"
        pipe = Pipe(((node, link), (venue, name)))
        self._ends[node.name, link] = (pipe, 0)
        self._ends[venue.name, name] = (pipe, 1)
        world.note("link", node.name, name, b"")
        venue.step(name, lambda a, now: a.on_link(name, LinkEvent.ACCEPTED, node.name, now))
        node.step(link, lambda a, now: a.on_link(link, LinkEvent.CONNECTED, "", now))

    def _arrival(self, pipe: Pipe, side: int) -> int:
        due = pipe.due[side] = max(self._world.mono_ns + self.delay(), pipe.due[side] + 1)
        return due

    def write(self, node: "Node", link: str, data: bytes) -> None:
        """Carry bytes to the other end, in order."""
        end = self._ends.get((node.name, link))
        if end is None or not data:
            return
        pipe, side = end
        if pipe.shut[side]:
            return
        world = self._world
        target, name = pipe.ends[1 - side]

        number = pipe.written[side]
        pipe.written[side] += 1

        def arrive() -> None:
            pipe.arrived[side] += 1
            lost_from = pipe.lost_from[side]
            came = data
            if lost_from is not None and number >= lost_from:
                came = data[: pipe.rest[side] * len(data) // 100] if number == lost_from else b""
                world.strike("cut.amid" if came else "cut.lost")
            if came and pipe.hears[1 - side] and not pipe.silent:
                world.note("bytes", node.name, name, came)
                target.step(name, lambda a, now: a.on_bytes(name, came, now))

        world.at(self._arrival(pipe, side), arrive)
        if pipe.tear >= 0 and side == 0:
            pipe.tear -= 1
            if pipe.tear < 0:
                self.cut(node.name, link)

    def close(self, node: "Node", link: str, reason: str) -> None:
        """Close after what was written; both ends are told."""
        end = self._ends.get((node.name, link))
        if end is None or end[0].shut[end[1]]:
            return
        pipe, side = end
        pipe.shut[side] = True
        self._world.note("close", node.name, link, reason.encode())

        def arrive() -> None:
            if not pipe.silent:
                self._tell(pipe, 1 - side, "closed by the peer")
            self._tell(pipe, side, reason)

        self._world.at(self._arrival(pipe, side), arrive)

    def _tell(self, pipe: Pipe, side: int, reason: str) -> None:
        # This end hears that it is over, and nothing more.
        if not pipe.hears[side]:
            return
        pipe.hears[side] = False
        pipe.shut[side] = True
        node, link = pipe.ends[side]
        if self._ends.get((node.name, link)) == (pipe, side):
            del self._ends[node.name, link]
        node.step(link, lambda a, now: a.on_link(link, LinkEvent.DISCONNECTED, reason, now))

    def _break(self, pipe: Pipe, reason: str) -> None:
        world = self._world
        for side in (0, 1):
            if pipe.lost_from[side] is None and world.rng.randrange(100) < LOST_PERCENT:
                pipe.lost_from[side] = world.rng.randint(pipe.arrived[side], pipe.written[side])
                pipe.rest[side] = world.rng.choice((0, world.rng.randrange(100)))
            pipe.shut[side] = True
        for side in (0, 1):
            if pipe.hears[side]:
                world.at(self._arrival(pipe, 1 - side), lambda s=side: self._tell(pipe, s, reason))  # type: ignore[misc]

    def cut(self, name: str, link: str) -> None:
        """Cut a connection, as a reset in the network would; both ends notice."""
        end = self._ends.get((name, link))
        if end is not None and not end[0].silent:
            self._world.note("cut", name, link, b"")
            self._break(end[0], "connection reset")

    def cut_amid(self, name: str, link: str, writes: int) -> None:
        """Cut a session's connection when so many more writes, and then one, have left and the last is under way."""
        end = self._ends.get((name, link))
        if end is not None:
            end[0].tear = writes

    def silence(self, name: str, link: str) -> None:
        """Let a connection become half-open: nothing arrives any more, nobody is told."""
        end = self._ends.get((name, link))
        if end is not None:
            self._world.note("silence", name, link, b"")
            end[0].silent = True

    def heal(self) -> None:
        """End half-open connections: the network is back and says that they are gone."""
        for pipe, side in list(self._ends.values()):
            if pipe.silent and pipe.hears[side]:
                pipe.silent = False
                self._break(pipe, "connection reset")

    def died(self, node: "Node") -> None:
        """Break every connection of a process that died."""
        for (name, link), (pipe, side) in list(self._ends.items()):
            if name == node.name:
                del self._ends[name, link]
                pipe.hears[side] = False
                if not pipe.silent:
                    self._break(pipe, "reset by the peer")
