"""Django settings, derived from `bcl.config.env`. Nothing here reads the environment itself."""

from __future__ import annotations

import hashlib

from bcl.config import env
from bcl.config.database import database_settings

BCL = env.read()

# Nothing is signed with it (no sessions, no cookies in this part): a value that differs per state
# directory is enough, and a secret file would only be one more thing to lose.
SECRET_KEY = hashlib.blake2b(str(BCL.state_dir).encode(), key=b"bcl-django").hexdigest()
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "bcl.config.urls"
WSGI_APPLICATION = "bcl.config.wsgi.application"

INSTALLED_APPS = [
    "procrastinate.contrib.django",
    "bcl.foundation",
    "bcl.municipalities",
    "bcl.accounts",
    "bcl.availability",
    "bcl.resident_store",
    "bcl.linkage",
    "bcl.recovery",
    "bcl.issuance",
]

MIDDLEWARE = [
    "bcl.config.middleware.RequestGuard",
    "bcl.config.middleware.ClientCertificate",
]

DATABASES = {"default": database_settings(BCL)}
# Staff passwords (`bcl.accounts`); nothing else is hashed with these.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TIME_ZONE = "Asia/Tokyo"
USE_TZ = True
LANGUAGE_CODE = "ja"
USE_I18N = False
APPEND_SLASH = False

# Uploads are read as streams by the views; Django never buffers a body into memory or a file.
DATA_UPLOAD_MAX_MEMORY_SIZE = BCL.wire.max_body_bytes
FILE_UPLOAD_HANDLERS: list[str] = []

LOGGING_CONFIG = "bcl.foundation.log.configure"
LOGGING = {"level": BCL.log_level}

PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "tasks"
PROCRASTINATE_ON_APP_READY = "bcl.foundation.jobs.bind"
