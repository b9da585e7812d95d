-- One text for SQLite and PostgreSQL: only TEXT, BIGINT and DOUBLE PRECISION, which both know.
-- Instants are milliseconds since 1970-01-01 UTC. Booleans are 0 and 1. Every key begins with the tenant.

CREATE TABLE tagwarden_runs (
    tenant               TEXT             NOT NULL,
    run_id               TEXT             NOT NULL,
    policy_name          TEXT             NOT NULL,
    policy_revision      TEXT             NOT NULL,
    triggered_by         TEXT             NOT NULL,
    scope_digest         TEXT             NOT NULL,
    scope                TEXT             NOT NULL,             -- JSON
    started_at           BIGINT           NOT NULL,
    finished_at          BIGINT,
    -- `pruned` is a run whose rows are being deleted; nobody gets to see it.
    state                TEXT             NOT NULL
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'pruned')),
    cause                TEXT,
    findings             BIGINT           NOT NULL DEFAULT 0,   -- rows written so far
    reported             BIGINT           NOT NULL DEFAULT 0,   -- 1 once the report is in
    complete             BIGINT           NOT NULL DEFAULT 0,
    gaps                 BIGINT           NOT NULL DEFAULT 0,   -- coverage cells that are not complete
    score                DOUBLE PRECISION,                      -- 0 to 1; null until the report is in
    compliant            BIGINT           NOT NULL DEFAULT 0,
    violating            BIGINT           NOT NULL DEFAULT 0,
    exempt               BIGINT           NOT NULL DEFAULT 0,
    unknown              BIGINT           NOT NULL DEFAULT 0,
    critical             BIGINT           NOT NULL DEFAULT 0,
    high                 BIGINT           NOT NULL DEFAULT 0,
    medium               BIGINT           NOT NULL DEFAULT 0,
    low                  BIGINT           NOT NULL DEFAULT 0,
    info                 BIGINT           NOT NULL DEFAULT 0,
    missing_required_tag BIGINT           NOT NULL DEFAULT 0,
    invalid_value        BIGINT           NOT NULL DEFAULT 0,
    invalid_format       BIGINT           NOT NULL DEFAULT 0,
    wrong_case           BIGINT           NOT NULL DEFAULT 0,
    forbidden_tag        BIGINT           NOT NULL DEFAULT 0,
    naming_rule          BIGINT           NOT NULL DEFAULT 0,
    advice               BIGINT           NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, run_id)
);

CREATE INDEX tagwarden_runs_by_time ON tagwarden_runs (tenant, started_at, run_id);

CREATE TABLE tagwarden_run_counts (
    tenant               TEXT             NOT NULL,
    run_id               TEXT             NOT NULL,
    dimension            TEXT             NOT NULL CHECK (dimension IN ('account', 'region', 'resource_type')),
    name                 TEXT             NOT NULL,
    score                DOUBLE PRECISION NOT NULL,
    compliant            BIGINT           NOT NULL,
    violating            BIGINT           NOT NULL,
    exempt               BIGINT           NOT NULL,
    unknown              BIGINT           NOT NULL,
    critical             BIGINT           NOT NULL,
    high                 BIGINT           NOT NULL,
    medium               BIGINT           NOT NULL,
    low                  BIGINT           NOT NULL,
    info                 BIGINT           NOT NULL,
    missing_required_tag BIGINT           NOT NULL,
    invalid_value        BIGINT           NOT NULL,
    invalid_format       BIGINT           NOT NULL,
    wrong_case           BIGINT           NOT NULL,
    forbidden_tag        BIGINT           NOT NULL,
    naming_rule          BIGINT           NOT NULL,
    advice               BIGINT           NOT NULL,
    PRIMARY KEY (tenant, run_id, dimension, name),
    FOREIGN KEY (tenant, run_id) REFERENCES tagwarden_runs (tenant, run_id)
);

CREATE TABLE tagwarden_coverage (
    tenant               TEXT             NOT NULL,
    run_id               TEXT             NOT NULL,
    seq                  BIGINT           NOT NULL,             -- the order of the report
    account_id           TEXT             NOT NULL,
    region               TEXT             NOT NULL,             -- `*` for every region
    resource_type        TEXT             NOT NULL,             -- `*` for every type
    state                TEXT             NOT NULL,
    resources            BIGINT           NOT NULL,
    cause                TEXT,
    PRIMARY KEY (tenant, run_id, seq),
    FOREIGN KEY (tenant, run_id) REFERENCES tagwarden_runs (tenant, run_id)
);

CREATE INDEX tagwarden_coverage_by_account ON tagwarden_coverage (tenant, run_id, account_id);

CREATE TABLE tagwarden_findings (
    tenant               TEXT             NOT NULL,
    run_id               TEXT             NOT NULL,
    seq                  BIGINT           NOT NULL,             -- the order in which they came
    arn                  TEXT             NOT NULL,
    resource_id          TEXT             NOT NULL,
    resource_type        TEXT             NOT NULL,
    account_id           TEXT             NOT NULL,
    region               TEXT             NOT NULL,
    tag_key              TEXT             NOT NULL,
    violation_type       TEXT             NOT NULL,
    severity             BIGINT           NOT NULL,             -- 0 critical, 1 high, 2 medium, 3 low, 4 info
    kind                 TEXT             NOT NULL,
    current_value        TEXT,
    allowed_values       TEXT,                                  -- JSON, an array of strings
    expected_format      TEXT,
    exempted_by          TEXT,
    exempt_until         BIGINT,
    PRIMARY KEY (tenant, run_id, seq),
    FOREIGN KEY (tenant, run_id) REFERENCES tagwarden_runs (tenant, run_id)
);
