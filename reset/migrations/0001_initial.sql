-- What was asked for. `address` is normalised; the link itself stands nowhere.
CREATE TABLE requests (
    number      VARCHAR(12)  PRIMARY KEY,
    address     VARCHAR(254) NOT NULL,
    created_at  CHAR(27)     NOT NULL,
    closed_at   CHAR(27)
);
CREATE INDEX requests_by_address ON requests (address, created_at);
CREATE INDEX requests_by_age ON requests (created_at);

-- The help desk's trace of a request: fixed event names, small JSON details, never a secret.
CREATE TABLE events (
    id       CHAR(24)    PRIMARY KEY,
    request  VARCHAR(12) NOT NULL,
    at       CHAR(27)    NOT NULL,
    event    VARCHAR(40) NOT NULL,
    details  TEXT        NOT NULL,
    FOREIGN KEY (request) REFERENCES requests (number) ON DELETE CASCADE
);
CREATE INDEX events_by_request ON events (request, id);

-- One row a link. `id` is the random half of the token; without the secret key it opens nothing.
CREATE TABLE links (
    id             CHAR(32)     PRIMARY KEY,
    request        VARCHAR(12)  NOT NULL,
    account        VARCHAR(255) NOT NULL,
    fingerprint    CHAR(64)     NOT NULL,
    state          VARCHAR(8)   NOT NULL,
    created_at     CHAR(27)     NOT NULL,
    opened_at      CHAR(27),
    claimed_until  CHAR(27),
    used_at        CHAR(27),
    origin         TEXT,
    FOREIGN KEY (request) REFERENCES requests (number) ON DELETE CASCADE
);
CREATE INDEX links_by_account ON links (account, state);
CREATE INDEX links_by_request ON links (request);
CREATE INDEX links_by_state ON links (state, claimed_until);

-- Mails to be sent. A reset link is looked up and minted when the hand-over starts.
CREATE TABLE outbox (
    id            CHAR(24)     PRIMARY KEY,
    request       VARCHAR(12)  NOT NULL,
    kind          VARCHAR(20)  NOT NULL,
    message_id    VARCHAR(200) NOT NULL,
    content       TEXT         NOT NULL,
    state         VARCHAR(10)  NOT NULL,
    attempts      INTEGER      NOT NULL,
    due_at        CHAR(27)     NOT NULL,
    lease         CHAR(32),
    leased_until  CHAR(27),
    created_at    CHAR(27)     NOT NULL,
    overdue_at    CHAR(27),
    FOREIGN KEY (request) REFERENCES requests (number) ON DELETE CASCADE
);
CREATE INDEX outbox_by_due ON outbox (state, due_at);
CREATE INDEX outbox_by_request ON outbox (request);

CREATE TABLE captcha_spent (
    nonce     CHAR(34) PRIMARY KEY,
    spent_at  CHAR(27) NOT NULL
);
CREATE INDEX captcha_spent_by_age ON captcha_spent (spent_at);

-- Counters of the rate limits; `bucket` holds no address in clear.
CREATE TABLE limits (
    bucket      VARCHAR(255) PRIMARY KEY,
    hits        INTEGER      NOT NULL,
    expires_at  CHAR(27)     NOT NULL
);
CREATE INDEX limits_by_expiry ON limits (expires_at);
