"""The municipality directory: who the towns are and which parties may speak for them.

    from bcl.municipalities import api as municipalities
    municipalities.get_municipality("999997").name_ja
    municipalities.find_gateway_by_cert(request.client_certificate_der)

Directory, gateways and the delivery center are agency data (no scope needed); settings, staff and
receivers belong to one municipality and open its scope by themselves.
"""

from bcl.municipalities.actions import (
    register_delivery_center,
    register_gateway_cert,
    register_municipality,
    register_recovery_receiver,
    register_staff,
    register_subscriber,
    revoke_delivery_center,
    revoke_gateway,
    revoke_staff,
    revoke_subscriber,
    set_setting,
    verify_staff_act,
)
from bcl.municipalities.erasure import approve_erasure, find_erasure, request_erasure
from bcl.municipalities.notices import (
    NoticeRecord,
    close_notice,
    list_notices,
    open_notice,
    open_notices,
)
from bcl.municipalities.profiles import (
    Profile,
    ProfileUse,
    disable_profile,
    enable_profile,
    find_profile_use,
    is_profile_enabled,
    list_profile_uses,
)
from bcl.municipalities.queries import (
    DeliveryCenterIdentity,
    GatewayIdentity,
    Municipality,
    RecoveryReceiver,
    SubscriberIdentity,
    UnknownMunicipality,
    cert_fingerprint,
    find_delivery_center_by_cert,
    find_gateway_by_cert,
    find_municipality,
    find_recovery_receiver,
    find_signing_key,
    find_staff_key,
    find_subscriber,
    find_subscriber_by_cert,
    get_municipality,
    list_gateways,
    list_municipality_codes,
    list_recovery_receivers,
    setting_at,
)

__all__ = [
    "DeliveryCenterIdentity",
    "GatewayIdentity",
    "Municipality",
    "NoticeRecord",
    "Profile",
    "ProfileUse",
    "RecoveryReceiver",
    "SubscriberIdentity",
    "UnknownMunicipality",
    "approve_erasure",
    "cert_fingerprint",
    "close_notice",
    "disable_profile",
    "enable_profile",
    "find_delivery_center_by_cert",
    "find_erasure",
    "find_gateway_by_cert",
    "find_municipality",
    "find_profile_use",
    "find_recovery_receiver",
    "find_signing_key",
    "find_staff_key",
    "find_subscriber",
    "find_subscriber_by_cert",
    "get_municipality",
    "is_profile_enabled",
    "list_gateways",
    "list_municipality_codes",
    "list_notices",
    "list_profile_uses",
    "list_recovery_receivers",
    "open_notice",
    "open_notices",
    "register_delivery_center",
    "register_gateway_cert",
    "register_municipality",
    "register_recovery_receiver",
    "register_staff",
    "register_subscriber",
    "request_erasure",
    "revoke_delivery_center",
    "revoke_gateway",
    "revoke_staff",
    "revoke_subscriber",
    "set_setting",
    "setting_at",
    "verify_staff_act",
]
