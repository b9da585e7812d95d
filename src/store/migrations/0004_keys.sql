-- API keys. The secret of a key is nowhere.

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
