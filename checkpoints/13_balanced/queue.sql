-- For the queue's own tables. A job that no worker can read would end each that begins it, and each
-- that cleans up after them, so it is refused where it comes in. Ours have a number or two.
ALTER TABLE procrastinate_jobs ADD CONSTRAINT args_are_few_and_named
    CHECK (jsonb_typeof(args) = 'object' AND length(args::text) <= 1000);
