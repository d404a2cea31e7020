-- For the queue's own tables. A job that no worker can read would end each worker that fetches it,
-- and each rescuer that finds it after them, so it is refused. Arguments of ours are a number or two.
ALTER TABLE procrastinate_jobs ADD CONSTRAINT args_are_few_and_named
    CHECK (jsonb_typeof(args) = 'object' AND length(args::text) <= 1000);
