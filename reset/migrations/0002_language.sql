-- The language of the page that asked: its mails speak the same one.
ALTER TABLE requests ADD COLUMN language VARCHAR(8) NOT NULL DEFAULT 'es';
