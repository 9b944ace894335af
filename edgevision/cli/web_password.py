"""``edgevision web-password``: a file with the hash of a password, or of a new token."""

from __future__ import annotations

import sys
from pathlib import Path

import typer


def web_password_command(
    file: Path = typer.Argument(help="The file; its password is replaced, its tokens stay."),
    token: bool = typer.Option(False, "--token", help="Add a token for programs, and print it this once."),
) -> None:
    """Write the password of the page to a file, as a hash; give the file to --web-password.

    The password is asked for twice, or read from standard input where that is not a terminal.

    \b
    Examples:
      edgevision web-password page.password
      edgevision web-password page.password --token
    """
    from edgevision.errors import UsageError
    from edgevision.web.passwords import add_line, hash_password, hash_token, new_token

    if token:
        secret = new_token()
        add_line(file, "token", hash_token(secret))
        typer.echo(secret)
        return
    if sys.stdin.isatty():
        given = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        given = sys.stdin.readline().rstrip("\n")
    if not given:
        raise UsageError("no password came from standard input; expected one line")
    add_line(file, "password", hash_password(given))
    typer.echo(f"wrote {file}", err=True)
