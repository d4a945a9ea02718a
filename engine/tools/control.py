"""`scripts/ctl`: what an operator says to a running engine.

Halt, arm, cancel and flatten go to the guard directly, so that they work with the supervisor dead; a halt that the
guard does not answer goes into the halt file (`engine.tools.kill`). Status, restart and stop go to the supervisor. Every command waits for the answer and says what it was.
"""

import argparse
import getpass
import json
import os
import sys
import uuid
from typing import Any

import msgspec

from engine.bus.sockets import tool_socket
from engine.common.clock import MS
from engine.common.fixed_point import PRICE_DECIMALS, QTY_DECIMALS, format_fixed, parse_fixed
from engine.config import Config
from engine.errors import EXIT_FAILURE, EXIT_OK, EXIT_RISK_LATCH, EXIT_TIMEOUT, NotRunningError, UsageError
from engine.guard.flattening import FLATTEN_NS
from engine.guard.groups import ANSWER_NS as GROUP_NS
from engine.messages import commands, control
from engine.messages.decisions import GuardStatus
from engine.messages.reconciliation import AcceptDropCopyGap
from engine.tools import drill, kill
from engine.tools.account import account_uses
from engine.tools.running import running_config, running_run

TIMEOUT_MS = 3000
GROUP_MS = GROUP_NS // MS
FLATTEN_MS = FLATTEN_NS // MS  # the guard answers at the end of it


def _add_guard_verbs(
    sub: "argparse._SubParsersAction[argparse.ArgumentParser]",
    common: argparse.ArgumentParser,
    scope: argparse.ArgumentParser,
) -> None:
    limits = sub.add_parser("limits", help="limits of the account, strategies and markets: show, set")
    verbs = limits.add_subparsers(dest="verb", required=True)
    verbs.add_parser(
        "show", parents=[common, scope], help="every limit, what is used of it, and who changed it"
    )
    change = verbs.add_parser(
        "set",
        parents=[common, scope],
        help="change a limit; it holds over restarts until the configuration changes it",
    )
    change.add_argument("name", help="as in the configuration, such as max_position, or collateral")
    change.add_argument("value", help="in the configuration's unit, such as 50 or 2500.00")
    change.add_argument("--why", required=True, help="reason, kept in the journal")
    sub.add_parser(
        "drill",
        parents=[common],
        help="try the kill switch in the embedded venue, and say what each step took",
    )


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--run",
        default="",
        metavar="DIR",
        help="the engine's run directory (default: the one that runs below .run)",
    )
    common.add_argument("--json", action="store_true", help="the answer as JSON")
    scope = argparse.ArgumentParser(add_help=False)
    scope.add_argument("--strategy", default="", help="only this strategy")
    scope.add_argument("--market", default="", help="only this market")
    parser = argparse.ArgumentParser(prog="scripts/ctl", description="Control a running engine.")
    sub = parser.add_subparsers(dest="command", required=True)
    sub.add_parser("status", parents=[common], help="state of every process and session, gate, limits in use")
    halt = sub.add_parser(
        "halt",
        parents=[common, scope],
        help="kill switch: stop new orders and cancel what rests; latched until arm",
    )
    halt.add_argument("--why", required=True, help="reason, kept in the journal")
    halt.add_argument("--no-wait", action="store_true", help="don't wait until nothing is open any more")
    arm = sub.add_parser("arm", parents=[common, scope], help="release a halt of the same scope")
    arm.add_argument("--why", required=True, help="reason, kept in the journal")
    arm.add_argument(
        "--accept-gap", action="store_true", help="accept that what FIX can't show stays unknown"
    )
    arm.add_argument(
        "--position",
        action="append",
        default=[],
        metavar="MARKET=QTY",
        help="position read at the venue, in contracts",
    )
    stop = sub.add_parser("stop", parents=[common], help="end the engine in safe order")
    stop.add_argument("--why", default="ctl stop")
    restart = sub.add_parser("restart", parents=[common], help="restart one process")
    restart.add_argument("name", help="as in status, such as guard or strategy.quote_maker")
    cancel = sub.add_parser("cancel", parents=[common, scope], help="cancel an order by its ClOrdID, or all")
    cancel.add_argument("id", nargs="?", default="")
    cancel.add_argument("--all", action="store_true")
    flatten = sub.add_parser(
        "flatten",
        parents=[common],
        help="halt a market (or all), cancel what rests there, bring the position to zero with IOC orders in the collar",
    )
    flatten.add_argument("market", nargs="?", default="")
    group = sub.add_parser(
        "group",
        parents=[common],
        help="a strategy's order group: reset one that was triggered, or settle one in doubt",
    )
    group.add_argument(
        "action",
        choices=("reset", "adopt", "new"),
        help="reset: let orders in again; adopt: the venue has the group --id; new: make one",
    )
    group.add_argument("--strategy", required=True, help="whose")
    group.add_argument("--id", default="", metavar="UUID", help="the group's id, as the venue shows it")
    group.add_argument("--why", required=True, help="reason, kept in the log")
    _add_guard_verbs(sub, common, scope)
    sub.add_parser("orders", parents=[common], help="open orders as the guard knows them")
    return parser


def _slot(config: Config, name: str) -> int | None:
    if not name:
        return None
    if name not in config.strategies:
        raise UsageError(f"there is no strategy {name!r}; there are: {', '.join(config.strategies)}")
    return config.strategies[name].slot


def _symbol(config: Config, symbol: str) -> str:
    if symbol and symbol not in config.instruments:
        raise UsageError(f"there is no market {symbol!r}; there are: {', '.join(config.instruments)}")
    return symbol


def _positions(config: Config, texts: list[str]) -> dict[str, int]:
    positions = {}
    for text in texts:
        symbol, equals, qty = text.partition("=")
        try:
            positions[_symbol(config, symbol)] = parse_fixed(qty, QTY_DECIMALS)
        except ValueError as error:
            raise UsageError(f"--position {text}: {error}; write it as BTC-PERP=-12") from None
        if not equals:
            raise UsageError(f"--position {text}: write it as BTC-PERP=-12")
    return positions


def _guard_message(arguments: argparse.Namespace, config: Config, request_id: str) -> msgspec.Struct:
    who = getpass.getuser()
    match arguments.command:
        case "halt":
            return commands.Halt(
                request_id=request_id, why=arguments.why, who=who,
                strategy=_slot(config, arguments.strategy), symbol=_symbol(config, arguments.market),
            )  # fmt: skip
        case "arm":
            return commands.Arm(
                request_id=request_id, why=arguments.why, who=who,
                strategy=_slot(config, arguments.strategy), symbol=_symbol(config, arguments.market),
                accept_gap=arguments.accept_gap, positions=_positions(config, arguments.position),
            )  # fmt: skip
        case "cancel" if arguments.all:
            return commands.CancelAll(
                request_id=request_id,
                strategy=_slot(config, arguments.strategy),
                symbol=_symbol(config, arguments.market),
            )
        case "cancel":
            if not arguments.id:
                raise UsageError("cancel: name an order's ClOrdID, or give --all")
            return commands.CancelById(request_id=request_id, cl_ord_id=arguments.id, who=who)
        case "group":
            return _group_order(arguments, config, request_id, who)
        case "limits" if arguments.verb == "set":
            return commands.SetLimit(
                request_id=request_id, name=arguments.name, value=arguments.value, why=arguments.why, who=who,
                strategy=_slot(config, arguments.strategy), symbol=_symbol(config, arguments.market),
            )  # fmt: skip
        case "limits":
            _slot(config, arguments.strategy)
            _symbol(config, arguments.market)
            return commands.LimitsQuery(request_id=request_id)
        case "flatten":
            return commands.Flatten(request_id=request_id, who=who, symbol=_symbol(config, arguments.market))
        case _:
            return commands.OpenOrdersQuery(request_id=request_id)


def _group_order(
    arguments: argparse.Namespace, config: Config, request_id: str, who: str
) -> commands.GroupOrder:
    slot = _slot(config, arguments.strategy)
    if slot is None:
        raise UsageError("group: name a strategy with --strategy")
    group_id = arguments.id
    if (arguments.action == "adopt") != bool(group_id):
        raise UsageError("group: --id belongs to adopt, and adopt needs it")
    if group_id:
        try:
            group_id = str(uuid.UUID(group_id))
        except ValueError:
            raise UsageError(f"group: --id {group_id!r} is no UUID") from None
    return commands.GroupOrder(
        request_id=request_id, who=who, why=arguments.why, strategy=slot, action=arguments.action, group_id=group_id
    )  # fmt: skip


def _ask(run: str, channel: str, message: msgspec.Struct, request_id: str, more_ms: int = 0) -> Any:
    bus = tool_socket(run, channel, f"tool.ctl.{os.getpid()}")
    try:
        return bus.request(
            message, lambda answer: getattr(answer, "request_id", None) == request_id, TIMEOUT_MS + more_ms
        )
    finally:
        bus.close()


def _tell_drop_copy(run: str, why: str) -> str:
    """Have drop copy take the operator's word too, so that its gap ends; return what came of it."""
    request_id = uuid.uuid4().hex
    message = AcceptDropCopyGap(request_id=request_id, why=why, who=getpass.getuser())
    try:
        reply = _ask(run, "dc.ask", message, request_id)
    except NotRunningError:
        reply = None
    return (
        f"drop copy: {reply.text}"
        if reply is not None
        else "drop copy did not answer: say it again when it runs"
    )


def _no_answer(what: str, more_ms: int = 0) -> int:
    print(f"error: {what} did not answer within {(TIMEOUT_MS + more_ms) / 1000:g} s", file=sys.stderr)
    return EXIT_TIMEOUT


def _status(run: str, *, as_json: bool) -> int:
    request_id = uuid.uuid4().hex
    state = _ask(run, "control", control.EngineQuery(request_id=request_id), request_id)
    guard = _guard_status(run)
    if state is None and guard is None:
        return _no_answer("the supervisor (the engine is shutting itself down if that is gone) and the guard")
    if as_json:
        print(json.dumps({
            "engine": msgspec.to_builtins(state) if state is not None else None,
            "guard": msgspec.to_builtins(guard) if guard is not None else None,
        }))  # fmt: skip
    else:
        _print_status(state, guard)
    latched = guard is not None and guard.latches
    return EXIT_RISK_LATCH if latched else EXIT_OK


def _guard_status(run: str) -> GuardStatus | None:
    try:
        bus = tool_socket(run, "guard.feed", f"tool.ctl.{os.getpid()}", ("status",))
    except NotRunningError:
        return None
    try:
        message = bus.receive(1500)
    finally:
        bus.close()
    return message if isinstance(message, GuardStatus) else None


def _print_status(state: control.EngineState | None, guard: GuardStatus | None) -> None:
    if state is None:
        print("the supervisor does not answer; what the guard says:")
    else:
        print(
            f"{state.name} ({state.environment}) {state.state}  version {state.version}  config {state.config_hash[:12]}"
        )
        for process in state.processes:
            status = process.status
            sessions = (
                ", ".join(f"{n}: {s}" for n, s in status.sessions.items()) if status is not None else ""
            )
            detail = status.detail if status is not None else ""
            text = "  ".join(filter(None, (sessions, detail)))
            print(
                f"  {process.name:24} {process.state:11} pid {process.pid:<8} {process.rss_bytes >> 20:4} MiB  restarts {process.restarts}  {text}"
            )
    if guard is None:
        print("the guard does not answer")
        return
    tokens = "unlimited" if guard.tokens_capacity < 0 else f"{guard.tokens}/{guard.tokens_capacity}"
    print(
        f"gate {guard.gate}  approved {guard.approved}  refused {guard.refused}  open orders {guard.open_orders}  write tokens {tokens}"
    )
    for reason in guard.reasons:
        print(f"  closed: {reason}")
    for scope, why in guard.latches.items():
        still = guard.still_open.get(scope, 0)
        print(f"  halted: {scope}: {why}{f'; {still} orders still open' if still else ''}")
    for near in guard.near_limits:
        print(f"  near its limit: {near}")
    if guard.cannot_cancel:
        print(f"  {guard.cannot_cancel}")
    for name, text in guard.groups.items():
        print(f"  order group of {name}: {text}")
    rows = [(guard.names.get(str(use.strategy), str(use.strategy)), use) for use in guard.strategies]
    rows += [("ACCOUNT", use) for use in account_uses(guard.strategies)]
    for name, use in rows:
        print(
            f"  {name:20} {use.symbol:12} position {format_fixed(use.position, 2):>10}  open {use.open_orders}  fills {use.fills}  {use.state}"
        )


def order_line(order: dict[str, Any]) -> str:
    """Write one open order for people."""
    side = "buy" if order["side"] == commands.Side.BUY else "sell"
    done, qty = format_fixed(order["cum_qty"], QTY_DECIMALS), format_fixed(order["qty"], QTY_DECIMALS)
    price = format_fixed(order["price"], PRICE_DECIMALS)
    return (
        f"  {order['cl_ord_id']:36} {order['name']:16} {order['symbol']:10} {side:4} {qty:>9} at {price:>10}"
        f"  filled {done:>8}  {order['state']}"
    )


def limit_line(row: dict[str, str]) -> str:
    """Write one limit for people."""
    changed = (
        f"  set by {row['set_by']} ({row['why']}), configured {row['configured']}" if "set_by" in row else ""
    )
    return f"  {row['scope']:28} {row['name']:20} {row.get('used', '-'):>14} / {row['limit']:<14}{changed}"


def _print_answer(ok: bool, text: str, data: dict[str, Any]) -> None:
    orders = data.pop("orders", None)
    data.pop("flattened", None)  # for programs; the text says it
    for row in data.pop("limits", []):
        print(limit_line(row))
        text = text or "used / limit"
    if isinstance(orders, list):
        for order in orders:
            print(order_line(order))
        text = text or f"{len(orders)} open orders"
    for key, value in data.items():
        for item in value if isinstance(value, list) else [value]:
            print(f"  {key}: {item}")
    if ok:
        print(text or "done")
    else:
        print(f"error: {text or 'refused'}", file=sys.stderr)


def _halt(arguments: argparse.Namespace) -> int:
    run = kill.find_run(arguments.run)
    request_id = uuid.uuid4().hex
    message = _guard_message(arguments, running_config(run), request_id)

    def show(said: dict[str, Any]) -> None:
        if arguments.json:
            print(json.dumps(said))
        else:
            _print_answer(said["ok"], said["text"], {})

    return kill.command(arguments, run, lambda: _ask(run, "guard.orders", message, request_id), show)


def main(argv: list[str]) -> int:
    """Carry out one command. Raises UsageError, NotRunningError."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "halt":
        return _halt(arguments)
    if arguments.command == "drill":
        return drill.main(arguments.run, as_json=arguments.json)
    run = running_run(arguments.run)
    if arguments.command == "status":
        return _status(run, as_json=arguments.json)
    config = running_config(run)
    request_id = uuid.uuid4().hex
    more_ms = {"flatten": FLATTEN_MS, "group": GROUP_MS}.get(arguments.command, 0)
    match arguments.command:
        case "stop":
            answer = _ask(
                run, "control", control.StopEngine(request_id=request_id, why=arguments.why), request_id
            )
        case "restart":
            answer = _ask(
                run, "control", control.RestartProcess(request_id=request_id, name=arguments.name), request_id
            )
        case _:
            message = _guard_message(arguments, config, request_id)
            answer = _ask(run, "guard.orders", message, request_id, more_ms)
    if answer is not None and answer.ok and getattr(arguments, "accept_gap", False):
        answer = msgspec.structs.replace(answer, text=f"{answer.text}; {_tell_drop_copy(run, arguments.why)}")
    if answer is None:
        who = "the supervisor" if arguments.command in {"stop", "restart"} else "the guard"
        return _no_answer(who, more_ms)
    data = {key: msgspec.msgpack.decode(value) for key, value in getattr(answer, "data", {}).items()}
    if "limits" in data:
        wanted = {kill.scope_text(arguments.strategy, ""), kill.scope_text("", arguments.market)} - {"all"}
        data["limits"] = [row for row in data["limits"] if not wanted or row["scope"] in wanted]
    if arguments.json:
        print(json.dumps({"ok": answer.ok, "text": answer.text, **data}, default=str))
    else:
        _print_answer(answer.ok, answer.text, data)
    return EXIT_OK if answer.ok else EXIT_FAILURE
