-- Who called what. Rows are only ever added.

CREATE TABLE tagwarden_invocations (
    tenant               TEXT             NOT NULL,
    correlation_id       TEXT             NOT NULL,
    at                   BIGINT           NOT NULL,
    principal            TEXT             NOT NULL,
    channel              TEXT             NOT NULL,
    operation            TEXT             NOT NULL,
    arguments_digest     TEXT             NOT NULL,
    arguments            TEXT             NOT NULL,             -- JSON, redacted and bounded
    status               TEXT             NOT NULL,
    duration_ms          BIGINT           NOT NULL,
    summary              TEXT             NOT NULL,
    PRIMARY KEY (tenant, correlation_id)
);

CREATE INDEX tagwarden_invocations_by_time ON tagwarden_invocations (tenant, at);
