-- While the mail server is away, mails that are marked already are not looked at again and again.
CREATE INDEX outbox_by_overdue ON outbox (state, overdue_at, created_at);
