"""Commands about the machines on which instances run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamanager import formats
from hamanager.api.grammar import check_service_name, service_of
from hamanager.cli.app import (
    NameArgument,
    Output,
    OutputOption,
    TimeoutOption,
    finish_order,
    open_client,
)
from hamanager.errors import UsageError
from hamanager.model.order import OrderKind

if TYPE_CHECKING:
    from hamanager.api.hosts import HostView
    from hamanager.model.host import HostTls

host_app = typer.Typer(
    help="The machines on which instances run.", no_args_is_help=True, rich_markup_mode=None
)
HostArgument = Annotated[str, typer.Argument(metavar="HOST")]


DockerOption = Annotated[
    str, typer.Option(metavar="URL", help="Its Docker engine: ssh://, tcp:// or unix://.")
]
CaOption = Annotated[
    Path | None, typer.Option(help="The engine's certificate authority, PEM.", dir_okay=False)
]
CertOption = Annotated[
    Path | None, typer.Option(help="The client certificate, PEM.", dir_okay=False)
]
KeyOption = Annotated[Path | None, typer.Option(help="And its key.", dir_okay=False)]
WithoutTlsOption = Annotated[
    bool, typer.Option("--without-tls", help="tcp:// in a network that nobody else reaches.")
]


@host_app.command("add")
def add(
    name: HostArgument,
    docker: DockerOption,
    address: Annotated[
        str, typer.Option(metavar="IP", help="Where clients and the other hosts reach it.")
    ],
    tls_ca: CaOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    without_tls: WithoutTlsOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Put a machine on record, after it was tried out.

    \b
    Example: hamanager host add h2 --docker ssh://root@10.0.0.2 --address 10.0.0.2
    """
    tls = _tls(tls_ca, tls_cert, tls_key)
    with open_client() as client:
        _show([client.add_host(name, docker, address, tls, without_tls=without_tls)], output)


@host_app.command("set")
def set_(
    name: HostArgument,
    docker: DockerOption,
    tls_ca: CaOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    without_tls: WithoutTlsOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Reach a host's Docker engine in another way, or with another certificate.

    \b
    Example: hamanager host set h2 --docker tcp://10.0.0.2:2376 --tls-ca ca.pem --tls-cert h1.pem
    --tls-key h1.key
    """
    tls = _tls(tls_ca, tls_cert, tls_key)
    with open_client() as client:
        _show([client.change_host(name, docker, tls, without_tls=without_tls)], output)


@host_app.command("list")
def list_hosts(output: OutputOption = Output.TEXT) -> None:
    """List all hosts, with what is on them.

    \b
    Example: hamanager host list
    """
    with open_client() as client:
        _show(client.hosts(), output)


@host_app.command("drain")
def drain(
    name: HostArgument,
    cancel: Annotated[bool, typer.Option("--cancel", help="It may be used again.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Move everything to other hosts, each instance when its successor is in step.

    \b
    Example: hamanager host drain h2
    """
    with open_client() as client:
        _show([client.drain_host(name, draining=not cancel)], output)


@host_app.command("remove")
def remove(
    name: HostArgument,
    lost: Annotated[
        bool, typer.Option("--lost", help="Its machine is gone for good, with what is on it.")
    ] = False,
) -> None:
    """Take a host off the record on which nothing is.

    \b
    Example: hamanager host remove h2
    """
    with open_client() as client:
        client.remove_host(name, lost=lost)
    typer.echo(f"{name}: removed")


def replace(
    instance: Annotated[str, typer.Argument(metavar="INSTANCE", help="For example db.1.")],
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Make an instance anew on another host now, as its own does not answer.

    \b
    Example: hamanager replace db.1
    """
    name = service_of(instance)
    with open_client() as client:
        number = client.order(name, OrderKind.REPLACE, instance)
        finish_order(client, name, number, timeout, output)


def rebalance(
    name: NameArgument,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Move instances that share a host although there is another one.

    \b
    Example: hamanager rebalance db
    """
    check_service_name(name)
    with open_client() as client:
        number = client.order(name, OrderKind.REBALANCE)
        finish_order(client, name, number, timeout, output)


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> HostTls | None:
    from hamanager.model.host import HostTls

    if ca is None and certificate is None and key is None:
        return None
    if ca is None or certificate is None or key is None:
        raise UsageError("--tls-ca, --tls-cert and --tls-key go together; nothing was changed")
    return HostTls(ca=_read(ca), certificate=_read(certificate), key=_read(key))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); nothing was changed") from error


def _show(hosts: list[HostView], output: Output) -> None:
    from hamanager.cli import terminal

    if output is Output.JSON:
        typer.echo(terminal.as_json_list(host.model_dump_json() for host in hosts), nl=False)
        return
    for host in hosts:
        typer.echo(f"{host.name}  {host.address}  {host.docker}  {_words(host)}")


def _words(host: HostView) -> str:
    state = "to be left" if host.draining else "in use"
    if host.silent_seconds:
        state = f"no answer for {formats.duration(host.silent_seconds)}"
    words = [state]
    if host.memory_bytes:
        promised = formats.size(host.promised_bytes)
        words.append(f"{promised} of {formats.size(host.memory_bytes)} promised")
    words.append(", ".join([*host.instances, *host.left]) or "nothing there")
    return "; ".join(words)
