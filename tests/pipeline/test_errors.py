from typing import ClassVar

import pytest

from pipeline.errors import (
    DiskFullError,
    InterruptedRunError,
    PuriflowError,
    StoreError,
    UserError,
    error_from_dict,
)


def all_kinds(kind: type[PuriflowError] = PuriflowError) -> list[type[PuriflowError]]:
    return [kind, *(k for sub in kind.__subclasses__() for k in all_kinds(sub))]


def test_message_and_remedy_are_one_text() -> None:
    assert str(StoreError("the store is gone.", "Bring it back.")) == "the store is gone. Bring it back."


def test_every_error_survives_the_way_to_the_parent_process() -> None:
    for kind in all_kinds():
        back = error_from_dict(kind("what", "do").to_dict())
        assert type(back) is kind
        assert (back.message, back.remedy, back.exit_code) == ("what", "do", kind.exit_code)


def test_every_code_means_one_class() -> None:
    codes = [kind.code for kind in all_kinds()]
    assert len(codes) == len(set(codes))


def test_users_mistakes_end_with_2_and_ours_with_1() -> None:
    assert DiskFullError.exit_code == UserError.exit_code == 2
    assert PuriflowError.exit_code == 1
    assert InterruptedRunError.exit_code == 75


def test_unknown_codes_of_a_newer_child_still_become_an_error() -> None:
    error = error_from_dict({"code": "from the future", "message": "m"})
    with pytest.raises(PuriflowError, match="m"):
        raise error


class CustomError(StoreError):
    code: ClassVar[str] = "test_only"


def test_subclasses_defined_elsewhere_are_found() -> None:
    assert type(error_from_dict(CustomError("m").to_dict())) is CustomError
