"""`nafx-rack superknob`: what it says, and its examples as a file of their own."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from . import connect
from .errors import RackError


def arguments(command: argparse.ArgumentParser) -> None:
    """What can be said behind `nafx-rack superknob`."""
    command.add_argument("what", choices=("status", "export", "import"), nargs="?", default="status", help="(status)")
    command.add_argument("file", metavar="FILE", nargs="?", default="", help="of examples, as TOML with real units")


def main(args: argparse.Namespace) -> int:
    """Show it, or write or read its examples."""
    if args.what != "status" and not args.file:
        raise RackError(f"superknob {args.what} needs a file, as in: nafx-rack superknob {args.what} examples.toml")
    with connect.Connection() as connection:
        if args.what == "status":
            found = connection.get("superknob.status")
            print(json.dumps(found, indent=1) if args.json else described(found))
        elif args.what == "export":
            text = connection.get("superknob.examples")
            try:
                Path(args.file).write_text(text)
            except OSError as error:
                raise RackError(f"{args.file}: cannot be written: {error.strerror or error}") from None
            print(f"{text.count('[[examples]]')} examples written to {args.file}")
        else:
            try:
                text = Path(args.file).read_text()
            except (OSError, UnicodeError) as error:
                reason = getattr(error, "strerror", None) or error
                raise RackError(f"{args.file}: cannot be read: {reason}") from None
            connection.set("superknob.examples", text)
            print(f"the rack has the examples of {args.file} now; nafx-rack set superknob.train trains on them")
    return 0


def described(found: dict[str, Any]) -> str:
    """The SuperKnob for a person."""
    place = found["place"]
    where = " ".join(f"{p:.3f}" for p in place["position"])
    how = f"{'play' if found['playing'] else 'teach'}{', by interpolation' if found['exact'] else ''}"
    lines = [f"superknob  {where} ({how}), {found['lamp']}, confidence {place['confidence']:.0%}"]
    for number, example in enumerate(found["examples"], 1):
        at = " ".join(f"{p:.2f}" for p in example["position"])
        missed = "" if example["residual"] is None else f"missed by {example['residual']:.3f}"
        lines.append(f"{number:>9}  {at}  {example['name']}: {example['words']}  {missed}".rstrip())
    lines += [f"{state:<10} {key}" for key, state in found["links"].items()]
    return "\n".join([*lines, f"next       {place['next']}"])
