-- Runs of audits: taken by one worker after the other, account by account.

-- Grows each time the run is taken; what a worker with a lower one writes is refused.
ALTER TABLE tagwarden_runs ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tagwarden_runs ADD COLUMN audit_uid TEXT;
ALTER TABLE tagwarden_runs ADD COLUMN slot TEXT;
ALTER TABLE tagwarden_runs ADD COLUMN slot_at BIGINT;
ALTER TABLE tagwarden_runs ADD COLUMN holder TEXT;
ALTER TABLE tagwarden_runs ADD COLUMN reason TEXT;

-- One run for each occasion, whoever claims it. Runs of no audit have no slot, and do not meet here.
CREATE UNIQUE INDEX tagwarden_runs_by_slot ON tagwarden_runs (tenant, audit_uid, slot);

CREATE TABLE tagwarden_run_accounts (
    tenant               TEXT             NOT NULL,
    run_id               TEXT             NOT NULL,
    ordinal              BIGINT           NOT NULL,             -- its place in the plan
    name                 TEXT             NOT NULL,             -- of its ClientAccount
    account_id           TEXT,
    done                 BIGINT           NOT NULL DEFAULT 0,
    seen                 BIGINT           NOT NULL DEFAULT 0,   -- resources, in scope or not
    outcome              TEXT,                                  -- JSON, once it is done
    PRIMARY KEY (tenant, run_id, ordinal),
    FOREIGN KEY (tenant, run_id) REFERENCES tagwarden_runs (tenant, run_id)
);
