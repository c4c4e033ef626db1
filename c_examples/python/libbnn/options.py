"""Settings by name (docs/settings.md of the library)."""
from __future__ import annotations

import ctypes
from typing import Any, Mapping, Union

from ._call import call, number, text
from ._handle import Handle
from ._library import raw
from .report import Report, reported

Value = Union[bool, int, float, str]
FIELDS = ("name", "aliases", "type", "default", "defaults", "range", "min", "max", "words", "group", "readers", "help")


def option(index: int, field: str) -> str:
    """Calls bnn_options_describe: one field of one option. Raises BNN_ERR_INVALID for the index or the field."""
    return text("bnn_options_describe", index, field)


def all_options() -> list[dict[str, str]]:
    """Calls bnn_options_count and bnn_options_describe: every option, with name, aliases, type, default, range, words, readers and help."""
    return [{field: option(i, field) for field in FIELDS} for i in range(raw.bnn_options_count())]


class Options(Handle):
    """Settings by name: Options(sampler="baoa", step_size=0.1). Those that are not given are at their defaults.

    What is made with options copies them, so they may be changed or closed at once. Wherever the package takes options, a dict serves too.
    """

    _free = "bnn_options_free"
    _types: dict[str, str] = {}

    def __init__(self, **settings: Value) -> None:
        self._own("bnn_options_new")
        self.set(**settings)

    @staticmethod
    def of(given: Options | Mapping[str, Value] | None) -> Options | None:
        """Returns options, made of a dict where one is given. None is all defaults."""
        return given if given is None or isinstance(given, Options) else Options(**given)

    def set(self, **settings: Value) -> Options:
        """Calls bnn_options_set_f64 for float, bnn_options_set_u64 for bool, bnn_options_set_str for str, and bnn_options_set_text for int.

        Raises BNN_ERR_INVALID for an unknown name, with the nearest one, for another type, and for a value out of range.
        """
        for name, value in settings.items():
            if isinstance(value, str):
                call("bnn_options_set_str", self, name, value)
            elif isinstance(value, bool):
                call("bnn_options_set_u64", self, name, int(value))
            elif hasattr(value, "__index__"):
                self.set_text(name, str(value))
            else:
                call("bnn_options_set_f64", self, name, value)
        return self

    def set_text(self, name: str, value: str) -> Options:
        """Calls bnn_options_set_text: an option of any type from text, as a flag or a file of settings has it."""
        call("bnn_options_set_text", self, name, value)
        return self

    def unset(self, name: str) -> Options:
        """Calls bnn_options_unset: the option is at its default again."""
        call("bnn_options_unset", self, name)
        return self

    def copy(self) -> Options:
        """Calls bnn_options_copy."""
        return Options._make("bnn_options_copy", self)

    def unread(self, reader: str) -> Report:
        """Calls bnn_options_unread: what is set and not read by a model, trainer, sampler, gradient sampler, store or generator, and why."""
        return reported("bnn_options_unread", self, reader)

    def __setitem__(self, name: str, value: Value) -> None:
        self.set(**{name: value})

    def __getitem__(self, name: str) -> Value:
        """Calls bnn_options_get_f64, bnn_options_get_u64 or bnn_options_get_str, by the option's type.

        Raises BNN_ERR_INVALID for an unknown name, and for an option that is not set and whose default depends on where it is used.
        """
        if not Options._types:
            for row in all_options():
                for known in [row["name"], *filter(None, row["aliases"].split(", "))]:
                    Options._types[known] = row["type"]
        kind = Options._types.get(name)
        if kind == "u64":
            return number(ctypes.c_uint64, "bnn_options_get_u64", self, name)
        if kind == "str":
            return text("bnn_options_get_str", self, name)
        return number(ctypes.c_double, "bnn_options_get_f64", self, name)
