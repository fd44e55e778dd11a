"""Staff accounts: who sits at a terminal, and what that person may do.

from bcl.accounts import api as accounts
terminal = accounts.find_terminal_by_cert(request.client_certificate_der, at=clock.now())
principal = accounts.find_session(terminal, cookie, clock.now())     # Principal | Refusal
"linkage.release" in principal.permissions
"""

from bcl.accounts.actions.administration import (
    Invitation,
    close_account,
    create_account,
    end_sessions,
    found_administrator,
    lock_account,
    lock_dormant_accounts,
    reset_account,
    review_account,
    set_roles,
    set_validity,
    unlock_account,
)
from bcl.accounts.actions.confirm import ConfirmedAct, confirm_act, verify_confirmed
from bcl.accounts.actions.enrolment import (
    begin_enrolment,
    choose_password,
    confirm_totp,
    offer_totp,
    totp_uri,
)
from bcl.accounts.actions.own_password import change_password
from bcl.accounts.actions.passkeys import (
    Passkey,
    ask_passkey,
    confirm_passkey,
    has_passkey,
    keep_passkey,
    list_passkeys,
    offer_passkey,
    remove_passkey,
)
from bcl.accounts.actions.privileges import (
    PrivilegeRequest,
    approve_privilege,
    ask_privilege,
    cut_privilege,
    end_privilege,
    list_privileges,
    refuse_privilege,
)
from bcl.accounts.actions.sign_in import (
    SignedIn,
    confirm_code,
    keep_session,
    sign_in,
    sign_out,
)
from bcl.accounts.actions.slow_looks import count_looks, count_slowed, judge_looks
from bcl.accounts.actions.terminals import register_terminal, revoke_terminal
from bcl.accounts.evidence import AccountEvidence, read_evidence
from bcl.accounts.looks import NamedLook, record_statement, who_saw
from bcl.accounts.queries import (
    Account,
    Principal,
    Privilege,
    Session,
    Terminal,
    find_account,
    find_session,
    find_terminal_by_cert,
    list_accounts,
    list_sessions,
    list_terminals,
)
from bcl.accounts.review_list import is_review_due, make_review_archive
from bcl.accounts.rules import AGENCY_CODE, ROLE_NAMES_JA, Role, TerminalClass

__all__ = [
    "AGENCY_CODE",
    "ROLE_NAMES_JA",
    "Account",
    "AccountEvidence",
    "ConfirmedAct",
    "Invitation",
    "NamedLook",
    "Passkey",
    "Principal",
    "Privilege",
    "PrivilegeRequest",
    "Role",
    "Session",
    "SignedIn",
    "Terminal",
    "TerminalClass",
    "approve_privilege",
    "ask_passkey",
    "ask_privilege",
    "begin_enrolment",
    "change_password",
    "choose_password",
    "close_account",
    "confirm_act",
    "confirm_code",
    "confirm_passkey",
    "confirm_totp",
    "count_looks",
    "count_slowed",
    "create_account",
    "cut_privilege",
    "end_privilege",
    "end_sessions",
    "find_account",
    "find_session",
    "find_terminal_by_cert",
    "found_administrator",
    "has_passkey",
    "is_review_due",
    "judge_looks",
    "keep_passkey",
    "keep_session",
    "list_accounts",
    "list_passkeys",
    "list_privileges",
    "list_sessions",
    "list_terminals",
    "lock_account",
    "lock_dormant_accounts",
    "make_review_archive",
    "offer_passkey",
    "offer_totp",
    "read_evidence",
    "record_statement",
    "refuse_privilege",
    "register_terminal",
    "remove_passkey",
    "reset_account",
    "review_account",
    "revoke_terminal",
    "set_roles",
    "set_validity",
    "sign_in",
    "sign_out",
    "totp_uri",
    "unlock_account",
    "verify_confirmed",
    "who_saw",
]
