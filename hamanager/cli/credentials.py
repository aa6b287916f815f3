"""Commands about who is let in: tokens and certificates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamanager.cli.app import Output, OutputOption, open_client
from hamanager.errors import ConflictError, UsageError
from hamanager.model.access import AccessRole

if TYPE_CHECKING:
    from hamanager.api.credentials import AuthorityView, IssuedView
    from hamanager.authority.certificates import Certified

token_app = typer.Typer(
    help="Tokens with which the API is asked from other machines.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
ca_app = typer.Typer(
    help="The installation's certificate authority.", no_args_is_help=True, rich_markup_mode=None
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME")]
RoleOption = Annotated[
    AccessRole,
    typer.Option(help="read sees, operate does what loses no data, admin does everything."),
]


@token_app.command("create")
def create_token(
    name: NameArgument,
    role: RoleOption,
    days: Annotated[
        int | None, typer.Option(help="How long it lasts; for ever when left out.", min=1)
    ] = None,
) -> None:
    """Make a token and print it, this once.

    \b
    Example: hamanager token create laptop --role operate > token
    """
    with open_client() as client:
        typer.echo(client.create_token(name, role, days))


@token_app.command("list")
def list_tokens(output: OutputOption = Output.TEXT) -> None:
    """List all tokens: name, role, since when, until when.

    \b
    Example: hamanager token list
    """
    from hamanager.cli import terminal
    from hamanager.formats import moment

    with open_client() as client:
        found = client.tokens()
    if output is Output.JSON:
        typer.echo(terminal.as_json_list(t.model_dump_json() for t in found), nl=False)
        return
    for token in found:
        until = "" if token.expires_at is None else f", until {moment(token.expires_at)}"
        typer.echo(f"{token.name}  {token.role}  since {moment(token.made_at)}{until}")


@token_app.command("revoke")
def revoke_token(name: NameArgument) -> None:
    """Let a token's owner in no more.

    \b
    Example: hamanager token revoke laptop
    """
    with open_client() as client:
        client.revoke_token(name)
    typer.echo(f"{name}: revoked")


@ca_app.command("show")
def show_ca(
    text: Annotated[bool, typer.Option("--text", help="In words instead of PEM.")] = False,
) -> None:
    """Print the certificates that are to be trusted, as a file for --ca.

    \b
    Example: hamanager ca show > ca.pem
    """
    with open_client() as client:
        found = client.authority()
    typer.echo(_words(found) if text else found.certificates, nl=False)


@ca_app.command("issue")
def issue(
    name: NameArgument,
    host: Annotated[
        list[str] | None,
        typer.Option(help="A name or address at which its owner answers; may be repeated."),
    ] = None,
    role: Annotated[
        AccessRole | None, typer.Option(help="What its owner may ask of the managers.")
    ] = None,
    days: Annotated[int, typer.Option(help="How long it lasts.", min=1)] = 365,
    directory: Annotated[Path, typer.Option(help="Where the files go.", file_okay=False)] = Path(),
    authority: Annotated[
        Path | None,
        typer.Option(
            help="Let the authority in this directory sign, without any manager; it is made when"
            " there is none. For etcd and Docker engines.",
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Make a certificate, for a server with its hosts or for a client with its role.

    \b
    Example: hamanager ca issue h1 --host 10.0.0.1 --authority /root/machines
    Writes NAME.pem, NAME.key and ca.pem; nobody else keeps the key.
    """
    from hamanager.authority.files import write_file

    if authority is None:
        with open_client() as client:
            made = client.issue(name, host or [], role, days)
    else:
        made = _issue_without_manager(authority, name, host or [], role, days)
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(key, made.key, 0o600)
        write_file(certificate, made.certificate, 0o644)
        write_file(directory / "ca.pem", made.authority, 0o644)
    except OSError as error:
        raise ConflictError(
            f"the certificate could not be written to {directory} ({error.strerror}): name another"
            " --directory"
        ) from None
    from hamanager.formats import moment

    typer.echo(f"{name}: {certificate} and {key}, until {moment(made.ends_at)}")


@ca_app.command("rotate")
def rotate(
    finish: Annotated[
        bool, typer.Option("--finish", help="Trust the former authority no more.")
    ] = False,
    cert: Annotated[
        Path | None, typer.Option(help="An authority of your own, PEM.", dir_okay=False)
    ] = None,
    key: Annotated[Path | None, typer.Option(help="And its key.", dir_okay=False)] = None,
) -> None:
    """Begin a new authority beside the present one, or finish that.

    \b
    Example: hamanager ca rotate
    Then `hamanager ca show > ca.pem` for every client, and at the end --finish.
    """
    own = own_pair(cert, key)
    if finish and own is not None:
        raise UsageError("--finish takes no authority: it was named when the change began")
    with open_client() as client:
        found = client.rotate(
            finish=finish,
            certificate=own.certificate if own else None,
            key=own.key if own else None,
        )
    typer.echo(_words(found), nl=False)


def own_pair(certificate: Path | None, key: Path | None) -> Certified | None:
    """An operator's own certificate with its key, when both are named.

    Raises:
        UsageError: one is missing, or cannot be read.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError("a certificate needs its key, and a key its certificate: name both")
    from hamanager.authority.certificates import Certified

    try:
        return Certified(certificate.read_text(encoding="ascii"), key.read_text(encoding="ascii"))
    except (OSError, UnicodeError):
        raise UsageError(f"{certificate} or {key} cannot be read, or is not PEM") from None


def _words(found: AuthorityView) -> str:
    from hamanager.formats import moment

    stage = f"; {found.rotation}" if found.rotation else ""
    return f"{found.name}, SHA-256 {found.fingerprint}, until {moment(found.ends_at)}{stage}\n"


def _issue_without_manager(
    authority: Path, name: str, hosts: list[str], role: AccessRole | None, days: int
) -> IssuedView:
    import time

    from hamanager.api.credentials import IssuedView
    from hamanager.authority.certificates import Wanted, described
    from hamanager.authority.files import issue_in

    if role is not None:
        raise UsageError(
            "managers let in whom the installation's own authority has given a role: leave out"
            " --role or --authority; nothing was made"
        )
    made, trusted = issue_in(authority, Wanted(name, tuple(hosts), None, days), time.time())
    return IssuedView(
        certificate=made.certificate,
        key=made.key,
        authority=trusted,
        ends_at=described(made.certificate).ends_at,
    )
