-- {id}: a 64-bit primary key. {name}: text that is compared byte by byte.
CREATE TABLE api_meta (
    only_row SMALLINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    rv BIGINT NOT NULL,
    -- Everything up to this version has been dropped from the log.
    compacted BIGINT NOT NULL
);
INSERT INTO api_meta (only_row, rv, compacted) VALUES (1, 1, 0);

CREATE TABLE api_objects (
    resource {name} NOT NULL,
    namespace {name} NOT NULL,
    name {name} NOT NULL,
    uid {name} NOT NULL,
    rv BIGINT NOT NULL,
    -- Milliseconds since 1970 of the last write: what expires is found by it.
    written_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (resource, namespace, name)
);
CREATE UNIQUE INDEX api_objects_uid ON api_objects (uid);
CREATE INDEX api_objects_age ON api_objects (resource, written_at);

CREATE TABLE api_log (
    rv {id},
    resource {name} NOT NULL,
    namespace {name} NOT NULL,
    name {name} NOT NULL,
    change {name} NOT NULL,
    written_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    prev TEXT
);
CREATE INDEX api_log_object ON api_log (resource, namespace, name, rv);
CREATE INDEX api_log_resource ON api_log (resource, rv);

-- Who is owned, to collect it once no owner is left.
CREATE TABLE api_owners (
    owner_uid {name} NOT NULL,
    resource {name} NOT NULL,
    namespace {name} NOT NULL,
    name {name} NOT NULL,
    PRIMARY KEY (owner_uid, resource, namespace, name)
);
CREATE INDEX api_owners_dependent ON api_owners (resource, namespace, name);

CREATE TABLE api_kinds (
    resource {name} NOT NULL PRIMARY KEY,
    objects BIGINT NOT NULL,
    -- Of the schema that all stored objects were last checked against.
    schema_digest {name} NOT NULL
);
