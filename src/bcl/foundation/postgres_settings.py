"""The database server's configuration files, written anew at every start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tuning:
    """Sizes in MiB. The defaults suit 2 cores and 24 GiB shared with the application."""

    shared_buffers_mb: int = 768
    max_wal_size_mb: int = 4096
    maintenance_work_mem_mb: int = 256
    max_connections: int = 80


def server_configuration(tuning: Tuning, *, port: int, socket_dir: Path) -> str:
    """Text of `bcl.conf`, included at the end of postgresql.conf.

    The logging lines keep personal data out of the server's log. An error's own text quotes the
    value (`invalid input syntax for type integer: "…"`), so errors of statements aren't logged
    here at all (`log` ranks above `error`): the application logs their type and place. Start-up,
    recovery, refused connections (FATAL) and crashes (PANIC) are.
    Page images aren't compressed in the WAL: nearly every page holds ciphertext.
    """
    lines = {
        "listen_addresses": "'127.0.0.1'",
        "port": str(port),
        "unix_socket_directories": f"'{socket_dir}'",
        "unix_socket_permissions": "0777",
        "max_connections": str(tuning.max_connections),
        "password_encryption": "'scram-sha-256'",
        "shared_buffers": f"{tuning.shared_buffers_mb}MB",
        "effective_cache_size": f"{max(1024, tuning.shared_buffers_mb * 8)}MB",
        "maintenance_work_mem": f"{tuning.maintenance_work_mem_mb}MB",
        "work_mem": "32MB",
        "temp_buffers": "32MB",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "wal_compression": "off",
        "wal_buffers": "16MB",
        "max_wal_size": f"{tuning.max_wal_size_mb}MB",
        "min_wal_size": f"{min(1024, tuning.max_wal_size_mb // 2)}MB",
        # A backup that stopped must not fill the database's own disk: its slot is given up first
        # (BACKUP_WAL_LOST), and a new base backup is needed then.
        "max_slot_wal_keep_size": f"{max(4096, tuning.max_wal_size_mb * 4)}MB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "jit": "off",
        "max_locks_per_transaction": "256",
        "idle_in_transaction_session_timeout": "'30min'",
        "timezone": "'Asia/Tokyo'",
        "log_timezone": "'Asia/Tokyo'",
        "logging_collector": "on",
        "log_directory": "'log'",
        "log_filename": "'postgresql-%a.log'",
        "log_file_mode": "0600",
        "log_rotation_age": "1d",
        "log_truncate_on_rotation": "on",
        "log_line_prefix": "'%m [%p] %u@%d '",
        "log_statement": "'none'",
        "log_min_duration_statement": "-1",
        "log_min_messages": "log",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
    }
    return "".join(f"{name} = {value}\n" for name, value in lines.items())


def access_rules() -> str:
    """Text of pg_hba.conf: passwords (SCRAM) everywhere, from this machine only."""
    return (
        "local all         all                    scram-sha-256\n"
        "host  all         all       127.0.0.1/32 scram-sha-256\n"
        "local replication bcl_backup             scram-sha-256\n"
        "host  replication bcl_backup 127.0.0.1/32 scram-sha-256\n"
    )
