"""Order entry over its real session, codec and plans, against an acceptor that speaks literal text."""

from engine.common.actor import LinkEvent
from engine.fix.acceptor import Acceptor
from engine.fix.events import App, LogonReceived
from engine.fix.session import SessionSettings
from engine.messages.commands import GuardHello
from engine.order_entry.actor import OrderEntry


class Gateway:
    """The venue's end of the link: bytes in, application messages kept as `35=..|..` text, bytes out."""

    def __init__(self, rig) -> None:
        self.rig = rig
        self.seen = []
        self.read = 0
        settings = SessionSettings(
            sender_comp_id="KalshiNR", target_comp_id="key-oe", peer_comp_ids=("key-oe",)
        )
        self.session = Acceptor(settings)

    def connect(self) -> None:
        self.session.connected(self.rig.now)
        self.rig.oe.on_link("order_entry", LinkEvent.CONNECTED, "", self.rig.now)
        self.pump()

    def pump(self) -> None:
        """Carry bytes both ways until nothing moves."""
        while True:
            writes = [e for e in self.rig.out.done[self.read :] if e[0] == "write"]
            self.read = len(self.rig.out.done)
            for _, _, data, _ in writes:
                self.take(self.session.receive(data, self.rig.now))
            data = self.session.data_to_send()
            if data:
                self.rig.oe.on_bytes("order_entry", data, self.rig.now)
            elif not writes:
                return

    def take(self, events) -> None:
        for event in events:
            if isinstance(event, LogonReceived):
                self.take(self.session.accept(self.rig.now))
            elif isinstance(event, App):
                body = "|".join(
                    f"{tag}={value}" for tag, value in event.message.pairs if tag not in (49, 56, 34, 52)
                )
                self.seen.append(f"{event.seq}: {body}|")

    def say(self, msg_type: str, text: str) -> None:
        self.session.send(msg_type, text.replace("|", "\x01"), self.rig.now)
        self.pump()


def over_the_wire(make_rig):
    rig = make_rig()
    rig.oe = OrderEntry(rig.config, rig.out, lambda _text: "c2lnbmF0dXJl", lambda: 0.5)
    rig.oe.start(rig.now)
    gateway = Gateway(rig)
    gateway.connect()
    rig.guard(GuardHello(epoch=1))
    assert rig.beat.ready and rig.beat.session == "logged on"
    return rig, gateway


def test_a_whole_life_over_the_wire(make_rig) -> None:
    """D, 8 New, G, 8 Replaced, 8 Trade, F, 9, 8 Canceled: text in, text out."""
    rig, gateway = over_the_wire(make_rig)
    group = "0192f0c4-0000-4000-8000-00000000000a"
    order = rig.new(post_only=True, group=group)
    gateway.pump()
    assert gateway.seen == [
        f"2: 35=D|11={order}|18=6|38=10.00|40=2|44=19.5000|54=1|55=BTC-PERP|59=1|526={group}|2964=1|21006=Y|"
    ]
    head = "37=V1|54=1|55=BTC-PERP|6=0.0000|"
    gateway.say("8", f"11={order}|17=7;1|150=0|39=0|38=10.00|44=19.5000|14=0.00|151=10.00|{head}")
    replace = rig.replace(order, 1500)
    gateway.pump()
    assert (
        gateway.seen[1] == f"3: 35=G|11={replace}|37=V1|41={order}|38=15.00|40=2|44=19.6000|54=1|55=BTC-PERP|"
    )
    gateway.say(
        "8", f"11={replace}|41={order}|17=7;2|150=5|39=0|38=15.00|44=19.6000|14=0.00|151=15.00|{head}"
    )
    gateway.say(
        "8",
        f"11={replace}|17=7;3|150=F|39=1|38=15.00|44=19.6000|14=5.00|151=10.00|31=19.6000|32=5.00|{head}"
        "704=5.00|705=0.00|136=1|137=0.0125|138=USD|139=4|891=0|1057=N|880=m1|",
    )
    event = rig.tape[-1]
    assert (event.state, event.position, event.fee, event.last_px, event.last_qty) == (
        "PARTIALLY_FILLED",
        500,
        12_500,
        196_000,
        500,
    )
    cancel = rig.cancel(order)
    gateway.pump()
    assert gateway.seen[2] == f"4: 35=F|11={cancel}|37=V1|41={replace}|54=1|55=BTC-PERP|"
    gateway.say("9", f"11={cancel}|37=V1|41={replace}|39=1|434=1|102=99|58=EXCHANGE_PAUSED|")
    again = rig.cancel(order)
    gateway.pump()
    gateway.say("8", f"11={again}|41={replace}|17=7;4|150=4|39=4|38=15.00|14=5.00|151=0.00|{head}")
    assert [kind for kind in rig.kinds if "position" not in kind] == [
        "submitted SUBMITTING",
        "new NEW",
        "replace_submitted PENDING_REPLACE",
        "replaced NEW",
        "trade PARTIALLY_FILLED",
        "cancel_submitted PENDING_CANCEL",
        "cancel_rejected PARTIALLY_FILLED",
        "cancel_submitted PENDING_CANCEL",
        "canceled CANCELED",
    ]
    assert rig.out.logged("alert") == [] and rig.oe.desk.sent == {}
    rig.restarted()


def test_refusals_by_number_over_the_wire(make_rig) -> None:
    """35=3 and 35=j name MsgSeqNum only."""
    rig, gateway = over_the_wire(make_rig)
    first, second = rig.new(), rig.new()
    gateway.pump()
    gateway.session.send_reject(2, "D", 5, 44, "bad price", rig.now)
    gateway.pump()
    gateway.say("j", "45=3|372=D|380=8|58=rate limit exceeded|")
    assert (rig.state(first), rig.state(second)) == ("NOT_SENT", "NOT_SENT")
    assert [e.text for e in rig.tape[-2:]] == [
        "Reject 5, tag 44: bad price",
        "BusinessRejectReason 8: rate limit exceeded",
    ]


def test_a_lost_link_is_a_lost_session_and_the_next_logon_asks(make_rig) -> None:
    """Disconnect, back-off, logon, cancel of what is in doubt, its report."""
    rig, gateway = over_the_wire(make_rig)
    order = rig.new()
    gateway.pump()
    rig.oe.on_link("order_entry", LinkEvent.DISCONNECTED, "reset by peer", rig.now)
    gateway.session.disconnected(rig.now)
    assert rig.state(order) == "UNKNOWN" and "reset by peer" in rig.tape[-1].text
    before = rig.out.done.count(("connect", "order_entry"))
    for _ in range(700):
        if rig.out.done.count(("connect", "order_entry")) > before:
            break
        rig.wait(50)
    gateway.read = len(rig.out.done)
    gateway.connect()
    rig.wait(20)
    gateway.pump()
    ask = rig.tape[-1].request_id
    assert gateway.seen[-1] == f"2: 35=F|11={ask}|41={order}|54=1|55=BTC-PERP|"
    gateway.say(
        "8",
        f"11={ask}|41={order}|17=8;1|150=4|39=4|38=10.00|14=0.00|151=0.00|37=V1|54=1|55=BTC-PERP|6=0.0000|",
    )
    assert rig.state(order) == "CANCELED" and rig.beat.ready
    rig.oe.stop(rig.now)
    gateway.pump()
    rig.oe.on_link("order_entry", LinkEvent.DISCONNECTED, "", rig.now)
    assert rig.oe.stopped
