"""The library's messages in the words of the command line: an argument goes by the name of the option that sets it."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import typer

_OTHERWISE = {"steps": "total_steps", "snapshot": "keep_copy_on"}  # an option -> the library's argument
_OF_A_TASK = {  # arguments that no option sets: a task of one's own has them
    "pass chance=": "give your Task(chance=...)",
    "pass eval_batches= (or eval_accuracy= to from_arrays)": "give your Task(metric=...)",
}
# What makes of a word at the beginning of a message an argument: "margin must be positive", "subsets 'x' is unknown".
_AS_SUBJECT = r"(?= must\b|: got\b| were given\b| is '| '[^']*' (?:is|cannot)\b| and [a-z]+_[a-z]+\b)"
_VALUE = r"'[^']*'|\([^)]*\)|\[[^]]*\]|[^\s,;)]*[^\s,;:.)]"

_running: list[Callable[..., None]] = []


def worded(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb; its errors, warnings and what it says through `in_options` name its options.

    The library knows of no command line: its messages name arguments, as in "max_minutes must be positive" or "use
    corrupt='skip'". An option is called like the argument that it sets, unless `_OTHERWISE` says so.
    """

    @functools.wraps(verb)
    def call(*args: Any, **kwargs: Any) -> None:
        _running.append(verb)
        try:
            verb(*args, **kwargs)
        except (ValueError, ModuleNotFoundError) as error:
            if error.args and error.args[0] == str(error):
                error.args = (in_options(str(error)), *error.args[1:])
                if isinstance(error, ModuleNotFoundError):
                    error.msg = error.args[0]  # what this kind prints
            raise
        finally:
            _running.pop()

    return call


def in_options(text: str) -> str:
    """The text with the running verb's options in place of the arguments that they set.

    A name of one word is an argument only where `=` follows ("the workers" are none), or where the message begins with
    it ("margin must be ..."); what stands in a call, a path or quotes is left alone. A value goes with its name:
    `corrupt='skip'` is `--corrupt skip`, and `streaming=False` is `--in-memory`. What only a task can be given is said
    of the task.
    """
    options = options_of(_running[-1]) if _running else {}
    if not options:
        return text
    for argument, of_the_task in _OF_A_TASK.items():
        text = text.replace(argument, of_the_task)
    subject = re.match(rf"({'|'.join(map(re.escape, options))}){_AS_SUBJECT}", text)
    if subject is not None:
        text = options[subject[1]].on + text[subject.end() :]
    names = "|".join(name + (r"(?![\w(])" if "_" in name else "(?==)") for name in options)
    return re.sub(
        rf"(?<![\w.\-/'\"])(?<!\w\()(?P<name>{names})(?:=(?P<value>{_VALUE})?)?",
        lambda found: options[found["name"]].said(found["value"]),
        text,
    )


@dataclass(frozen=True)
class Option:
    """An option of a verb.

    Args:
        on: its name, of a switch the one that turns it on.
        off: the one that turns a switch off; empty where there is none.
        switch: whether it takes no value.
    """

    on: str
    off: str
    switch: bool

    def said(self, value: str | None) -> str:
        """With a value of the argument as the library writes it; several, or none, are left out."""
        if self.switch:
            return self.off if value == "False" and self.off else self.on
        if value is None or value[0] in "([":
            return self.on
        return f"{self.on} {shlex.quote(value.strip(chr(39)))}"


@functools.cache
def options_of(verb: Callable[..., None]) -> Mapping[str, Option]:
    """A verb's options by the argument that each sets."""
    alone = typer.Typer(add_completion=False)
    alone.command()(verb)
    found = {}
    for parameter in typer.main.get_command(alone).params:
        if parameter.opts[0].startswith("--") and not getattr(parameter, "hidden", False):
            name, off = parameter.opts[0], parameter.secondary_opts[:1]
            written = parameter.name if off else name[2:].replace("-", "_")
            option = Option(name, off[0] if off else "", bool(getattr(parameter, "is_flag", False)))
            found[_OTHERWISE.get(written or "", written or "")] = found[written or ""] = option
    return found
