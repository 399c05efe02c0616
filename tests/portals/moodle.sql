-- The columns of Moodle 4.x that matter here (lib/db/install.xml), as it makes them on MariaDB.
CREATE TABLE mdl_user (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    auth VARCHAR(20) NOT NULL DEFAULT 'manual',
    confirmed TINYINT NOT NULL DEFAULT 0,
    policyagreed TINYINT NOT NULL DEFAULT 0,
    deleted TINYINT NOT NULL DEFAULT 0,
    suspended TINYINT NOT NULL DEFAULT 0,
    mnethostid BIGINT NOT NULL DEFAULT 0,
    username VARCHAR(100) NOT NULL DEFAULT '',
    password VARCHAR(255) NOT NULL DEFAULT '',
    idnumber VARCHAR(255) NOT NULL DEFAULT '',
    firstname VARCHAR(100) NOT NULL DEFAULT '',
    lastname VARCHAR(100) NOT NULL DEFAULT '',
    email VARCHAR(100) NOT NULL DEFAULT '',
    phone1 VARCHAR(20) NOT NULL DEFAULT '',
    phone2 VARCHAR(20) NOT NULL DEFAULT '',
    timecreated BIGINT NOT NULL DEFAULT 0,
    timemodified BIGINT NOT NULL DEFAULT 0,
    UNIQUE KEY mdl_user_mneuse_uix (mnethostid, username),
    KEY mdl_user_ema_ix (email)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE TABLE mdl_sessions (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    state BIGINT NOT NULL DEFAULT 0,
    sid VARCHAR(128) NOT NULL DEFAULT '',
    userid BIGINT NOT NULL,
    sessdata LONGTEXT,
    timecreated BIGINT NOT NULL,
    timemodified BIGINT NOT NULL,
    KEY mdl_sess_use_ix (userid)
);
CREATE TABLE mdl_user_preferences (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    userid BIGINT NOT NULL DEFAULT 0,
    name VARCHAR(255) NOT NULL DEFAULT '',
    value VARCHAR(1333) NOT NULL DEFAULT '',
    UNIQUE KEY mdl_userpref_usenam_uix (userid, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
