"""Django settings, derived from `bcl.config.env`. Nothing here reads the environment itself."""

from __future__ import annotations

import hashlib

from bcl.config import env
from bcl.config.database import database_settings

BCL = env.read()

# Nothing is signed with it (sessions and form tokens are random): a value that differs per state
# directory is enough, and a secret file would only be one more thing to lose.
SECRET_KEY = hashlib.blake2b(str(BCL.state_dir).encode(), key=b"bcl-django").hexdigest()
DEBUG = False
ALLOWED_HOSTS = ["*"]
_IS_CONSOLE = BCL.process_role == "console"
ROOT_URLCONF = "bcl.config.console_urls" if _IS_CONSOLE else "bcl.config.urls"
WSGI_APPLICATION = "bcl.config.wsgi.application"

INSTALLED_APPS = [
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "procrastinate.contrib.django",
    "bcl.foundation",
    "bcl.look",
    "bcl.municipalities",
    "bcl.accounts",
    "bcl.availability",
    "bcl.resident_store",
    "bcl.linkage",
    "bcl.recovery",
    "bcl.issuance",
    "bcl.subscriptions",
    "bcl.backup",
    "bcl.oversight",
    "bcl.console",
]

WIRE_MIDDLEWARE = [
    "bcl.config.middleware.MachineHeaders",
    "bcl.config.middleware.RequestGuard",
    "bcl.config.middleware.ClientCertificate",
    "bcl.config.zones.ZoneGate",
]
CONSOLE_MIDDLEWARE = [
    "bcl.console.middleware.SecurityHeaders",
    "bcl.config.middleware.RequestGuard",
    "bcl.config.middleware.ClientCertificate",
    "bcl.config.zones.ZoneGate",
    "bcl.console.middleware.RegisteredTerminal",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "bcl.console.middleware.StaffSession",
    "django.middleware.csrf.CsrfViewMiddleware",
]
MIDDLEWARE = CONSOLE_MIDDLEWARE if _IS_CONSOLE else WIRE_MIDDLEWARE

# Staff pages: our own static files only, found in the apps at start.
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["bcl.console.frame.page_context"]},
    }
]
CSRF_COOKIE_NAME = "__Host-bcl-form"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_AGE = None
CSRF_FAILURE_VIEW = "bcl.console.views.csrf_failed"

DATABASES = {"default": database_settings(BCL)}
# Staff passwords (`bcl.accounts`); nothing else is hashed with these.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TIME_ZONE = "Asia/Tokyo"
USE_TZ = True
LANGUAGE_CODE = "ja"
# Django's own words (form errors) in Japanese; nothing else is translated.
USE_I18N = _IS_CONSOLE
APPEND_SLASH = False

# Uploads are read as streams by the views; Django never buffers a body into memory or a file.
DATA_UPLOAD_MAX_MEMORY_SIZE = BCL.wire.max_body_bytes
FILE_UPLOAD_HANDLERS: list[str] = []

LOGGING_CONFIG = "bcl.foundation.log.configure"
LOGGING = {"level": BCL.log_level}

PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "tasks"
PROCRASTINATE_ON_APP_READY = "bcl.foundation.jobs.bind"
