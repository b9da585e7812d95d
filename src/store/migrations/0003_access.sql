-- API keys, and a row for everything that was asked.

CREATE TABLE tagwarden_keys (
    key_id               TEXT             NOT NULL PRIMARY KEY,
    digest               TEXT             NOT NULL,             -- SHA-256 of the secret, hexadecimal
    tenant               TEXT             NOT NULL,
    scopes               TEXT             NOT NULL,             -- words separated by spaces, sorted
    note                 TEXT,
    created_at           BIGINT           NOT NULL,
    expires_at           BIGINT,
    revoked_at           BIGINT,
    used_at              BIGINT
);

CREATE INDEX tagwarden_keys_by_tenant ON tagwarden_keys (tenant, created_at);

-- Rows are added, and deleted once they are two years old. Nothing changes one.
CREATE TABLE tagwarden_audit_rows (
    tenant               TEXT             NOT NULL,
    row_id               TEXT             NOT NULL,
    at                   BIGINT           NOT NULL,
    correlation_id       TEXT             NOT NULL,
    principal            TEXT             NOT NULL,
    channel              TEXT             NOT NULL,
    operation            TEXT             NOT NULL,
    arguments_digest     TEXT             NOT NULL,
    arguments            TEXT             NOT NULL,             -- without secrets, and bounded
    status               TEXT             NOT NULL,
    duration_ms          BIGINT           NOT NULL,
    summary              TEXT             NOT NULL,
    PRIMARY KEY (tenant, row_id)
);

CREATE INDEX tagwarden_audit_rows_by_time ON tagwarden_audit_rows (tenant, at);
