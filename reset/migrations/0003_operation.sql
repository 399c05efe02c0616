-- Who may use the help desk's pages. `password` is an argon2id hash; '' where a proxy vouches.
CREATE TABLE operators (
    name           VARCHAR(64)  PRIMARY KEY,
    password       VARCHAR(255) NOT NULL,
    created_at     CHAR(27)     NOT NULL,
    disabled_at    CHAR(27),
    signed_out_at  CHAR(27)
);

-- What operators saw and did. Rows are added, never changed, and go when the retention is over.
CREATE TABLE acts (
    id        CHAR(24)     PRIMARY KEY,
    at        CHAR(27)     NOT NULL,
    operator  VARCHAR(64)  NOT NULL,
    act       VARCHAR(40)  NOT NULL,
    subject   VARCHAR(254) NOT NULL,
    details   TEXT         NOT NULL
);
CREATE INDEX acts_by_age ON acts (at);
CREATE INDEX acts_by_subject ON acts (subject, at);

-- The workers that run, each with its last sign of life and its figures since it started.
CREATE TABLE workers (
    name        VARCHAR(100) PRIMARY KEY,
    started_at  CHAR(27)     NOT NULL,
    beat_at     CHAR(27)     NOT NULL,
    figures     TEXT         NOT NULL
);

-- The help desk's daily mail: one row a day, so that of many workers one sends it.
CREATE TABLE digests (
    day            CHAR(10) PRIMARY KEY,
    claimed_until  CHAR(27) NOT NULL,
    sent_at        CHAR(27)
);
